from python:3.12-alpine python
check() {
  prints '[server]' run "$image" cat /srv/config.ini
  prints 'port = 80' run "$image" cat config.ini
  printed ' content of a descriptor$'
  printed '^#[0-9]+ [0-9.]+ /$' # the directory that the script of Python ran in
}
