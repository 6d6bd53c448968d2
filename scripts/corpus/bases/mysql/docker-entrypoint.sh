#!/bin/bash
# What the public image's entry point does, in short: an empty database is set up, and fed the files
# of /docker-entrypoint-initdb.d in the order of their names.
set -eu
if [ ! -d /var/lib/mysql/mysql ]; then
  chown mysql: /var/lib/mysql
  mariadb-install-db --user=mysql --skip-test-db >/dev/null
  {
    echo "CREATE DATABASE $MYSQL_DATABASE;"
    echo "USE $MYSQL_DATABASE;"
    cat /docker-entrypoint-initdb.d/*.sql
    echo "FLUSH PRIVILEGES;"
    echo "GRANT ALL ON $MYSQL_DATABASE.* TO '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
    echo "ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';"
  } | mariadbd --user=mysql --bootstrap
fi
exec "$@" --user=mysql
