context() {
  base busybox
  strake build -q -o rootfs - >/dev/null <<<'FROM corpus/busybox'
  mkdir -p etc
  echo 'nameserver 192.0.2.1' >etc/resolv.conf
  tar --sort=name --mtime=@0 --owner=0 --group=0 -C rootfs -cJf rootfs.tar.xz .
  rm -r rootfs
}
check() {
  prints BusyBox run "$image" busybox
  prints 'drwxrwxrwt    2 0        0' run "$image" ls -nld /tmp
  has '{{index .Config.Labels "org.opencontainers.image.title"}}' base
  strake build -q -o "$WORK/rootfs" - >/dev/null <<<"FROM $image"
  grep -q 192.0.2.1 "$WORK/rootfs/etc/resolv.conf" || fail 'resolv.conf is not what was added'
  rm -r "$WORK/rootfs"
}
