from node:16 node
child=$image-app
check() {
  has '{{len .Config.OnBuild}}' 5
  cp -r "$corpus/$case/context-of-child" "$WORK/child.$$"
  strake build --progress=plain -t "$child" --build-arg NODE_ENV=production "$WORK/child.$$" >"$log/$case.child" 2>&1 \
    || { tail -30 "$log/$case.child"; fail 'the image on it'; }
  rm -r "$WORK/child.$$"
  prints 'production, 1d' run "$child"
  image=$child has '{{json .Config.OnBuild}}' null
}
