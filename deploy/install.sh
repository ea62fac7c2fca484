#!/usr/bin/env bash
# Installs Callback Desk on a Debian machine, or brings an installed one up to the version of this folder.
#
# It may be run again at any time. Everything that can be checked is checked first; what runs goes on until the new
# version is ready beside it. Settings and secrets are made once and never changed (docs/operating.md).
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# What runs; tests, documents and tools stay here.
shipped=(app.py buffering_socket.py buffering_worker.py server_log.py gunicorn.conf.py pyproject.toml requirements.lock
  LICENSE bx24app deploy manifest migrations templates)

usage() {
  cat <<'TEXT'
usage: deploy/install.sh --domain NAME --database sqlite|URL [options]

  --domain NAME            where browsers and Bitrix24 reach the app
  --database sqlite|URL    a file on this machine, or postgresql+psycopg://... without a password (a URL with one comes
                           in BX24APP_DATABASE_URL)
  --certificate FILE       default: /etc/letsencrypt/live/NAME/fullchain.pem
  --certificate-key FILE   default: /etc/letsencrypt/live/NAME/privkey.pem
  --listen-http ADDRESS    default: 80, on every address
  --listen-https ADDRESS   default: 443, on every address
  --user NAME              whom the app runs as, made when missing; default: callback-desk
  --prefix FOLDER          put everything below this folder instead of /
  --python COMMAND         default: python3

BX24APP_CLIENT_ID and BX24APP_CLIENT_SECRET (from the developer's area) come in the environment the first time, like any
other setting of deploy/callback-desk.env.
TEXT
}

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

step() {
  printf -- '-- %s\n' "$*"
}

domain='' database='' certificate='' certificate_key='' listen_http=80 listen_https=443
user=callback-desk prefix='' python=python3 nginx_changes=no

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
    --help)
      usage
      exit 0
      ;;
    --domain | --database | --certificate | --certificate-key | --listen-http | --listen-https | --user | --prefix | --python)
      [ $# -gt 1 ] || fail "$1 needs a value; --help says more."
      local name=${1#--}
      printf -v "${name//-/_}" '%s' "$2"
      shift 2
      ;;
    *) fail "unknown option $1; --help lists them." ;;
    esac
  done
  prefix=${prefix%/}
  : "${certificate:=$prefix/etc/letsencrypt/live/$domain/fullchain.pem}"
  : "${certificate_key:=$prefix/etc/letsencrypt/live/$domain/privkey.pem}"
  local port=${listen_https##*:}
  public_url=https://$domain$([ "$port" = 443 ] || printf ':%s' "$port")
  releases=$prefix/opt/callback-desk
  settings=$prefix/etc/callback-desk/callback-desk.env
  data=$prefix/var/lib/callback-desk
  units=$prefix/etc/systemd/system
  nginx=$prefix/etc/nginx
  socket=$prefix/run/callback-desk/web.sock
}

# What can be wrong is said before anything is changed.

check_machine() {
  [ "$(id -u)" = 0 ] || [ -n "$prefix" ] || fail "must be run as root: it makes a user, services and a site of nginx."
  [[ $domain =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]] ||
    fail "--domain must be the name of this machine, such as callback.example.com, without https:// and path."
  local value plain='^[][A-Za-z0-9/._:@+-]*$'
  for value in "$prefix" "$certificate" "$certificate_key" "$user" "$listen_http" "$listen_https"; do
    [[ $value =~ $plain ]] || fail "'$value' has a character that files of systemd or nginx cannot hold."
  done
  command -v "$python" >/dev/null || fail "$python is missing: apt-get install --yes python3 python3-venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: Python 3.11 or newer is needed (Debian 12 has it)."
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make environments: apt-get install --yes python3-venv"
  local tool
  for tool in nginx systemctl; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install --yes nginx systemd"
  done
  [ -f "$nginx/nginx.conf" ] || fail "$nginx/nginx.conf is missing: apt-get install --yes nginx"
}

check_certificate() {
  local file
  for file in "$certificate" "$certificate_key"; do
    [ -r "$file" ] || fail "$file cannot be read. Get a certificate first (certbot certonly --webroot" \
      "--webroot-path /var/www/html --domain $domain), or name one with --certificate and --certificate-key."
  done
}

check_ports() {
  [ -e "$nginx/sites-enabled/callback-desk" ] && return
  local listen
  for listen in "$listen_http" "$listen_https"; do
    "$python" - "$listen" <<'CODE' || fail "port ${listen##*:} is taken by something else than nginx: stop it, or choose" \
      "another one with --listen-http and --listen-https."
import socket, subprocess, sys
host, _, port = sys.argv[1].rpartition(":")
try:
    socket.create_server((host.strip("[]"), int(port))).close()
except OSError:
    # nginx that answers there already is to serve one site more.
    active = subprocess.run(["systemctl", "is-active", "--quiet", "nginx"], check=False)
    sys.exit(active.returncode)
CODE
  done
}

registration() {
  "$python" - "$source_dir/manifest/app.json" "$public_url" <<'CODE'
import json, sys
path, url = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    manifest = json.load(file)
print("In the developer's area of Bitrix24 register:")
print(f"  application URL  {url}{manifest['urls']['application']}")
print(f"  installer URL    {url}{manifest['urls']['installer']}")
print(f"  scopes           {', '.join(manifest['scopes'])}")
CODE
}

setting_of() {
  sed -n "s/^BX24APP_$1=//p" "$settings"
}

check_existing_settings() {
  [ -r "$settings" ] || fail "$settings cannot be read."
  local present
  present=$(setting_of PUBLIC_URL)
  [ "$present" = "$public_url" ] ||
    fail "is installed as $present, not as $public_url. To move it change BX24APP_PUBLIC_URL in $settings first."
  present=$(setting_of DATABASE_URL)
  [ -z "$database" ] || [ "$present" = "$(database_url)" ] ||
    fail "is installed with another database. Nothing is moved by itself: see BX24APP_DATABASE_URL in $settings."
}

database_url() {
  case $database in
  '') printf '%s' "${BX24APP_DATABASE_URL:-}" ;;
  sqlite) printf 'sqlite:///%s/callback-desk.db' "$data" ;;
  *) printf '%s' "$database" ;;
  esac
}

check_new_settings() {
  [[ ! $database =~ ://[^/@]*:[^/@]*@ ]] || fail "--database has a password, which everybody on this machine can read" \
    "in the list of processes. Put the URL into the variable BX24APP_DATABASE_URL instead."
  case $(database_url) in
  '') fail "--database is missing: sqlite, or a URL that begins with postgresql+psycopg://" ;;
  sqlite:///* | postgresql+psycopg://*) ;;
  *) fail "the database must be sqlite, or a URL that begins with postgresql+psycopg://" ;;
  esac
  if [ -z "${BX24APP_CLIENT_ID:-}" ] || [ -z "${BX24APP_CLIENT_SECRET:-}" ]; then
    fail "the keys of the app are missing. $(registration)"$'\n'"Then put its keys into BX24APP_CLIENT_ID and" \
      "BX24APP_CLIENT_SECRET and run this again."
  fi
  local name
  for name in "${!BX24APP_@}"; do
    [[ ! ${!name} =~ [[:space:]\'\"\\] ]] || fail "$name has a space, a quote or a backslash, which its file cannot hold."
  done
}

# Prints the settings file: deploy/callback-desk.env with everything that is known.
new_settings() {
  # shellcheck disable=SC2034 # read by its name below
  local BX24APP_PUBLIC_URL=$public_url BX24APP_DATABASE_URL line name
  BX24APP_DATABASE_URL=$(database_url)
  local random='import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())'
  for name in BX24APP_SECRET_KEY BX24APP_ENCRYPTION_KEYS BX24APP_METRICS_TOKEN; do
    [ -n "${!name:-}" ] || local "$name=$("$python" -c "$random")"
  done
  while IFS= read -r line; do
    name=${line#\#}
    name=${name%%=*}
    if [ "$line" = PROMETHEUS_MULTIPROC_DIR= ]; then line=$line$data/metrics; fi
    if [[ $line =~ ^#?BX24APP_[A-Z_]+= ]] && [ -n "${!name:-}" ]; then line=$name=${!name}; fi
    printf '%s\n' "$line"
  done <"$source_dir/deploy/callback-desk.env"
}

# From here on the machine is changed; what runs already goes on until switch_over.

make_user_and_folders() {
  if ! id "$user" >/dev/null 2>&1; then
    step "user $user"
    useradd --system --home-dir "$data" --no-create-home --shell /usr/sbin/nologin "$user"
  fi
  install -d -m 0755 "$releases" "$units" "$nginx/sites-available" "$nginx/sites-enabled" "$prefix/usr/local/sbin" \
    "$prefix/var/log/nginx" "$(dirname "$socket")"
  install -d -m 0700 "$(dirname "$settings")"
  install -d -m 0700 -o "$user" -g "$(id -g "$user")" "$data"
}

release_id() {
  cd "$source_dir"
  {
    "$python" --version
    find "${shipped[@]}" -type f ! -name '*.pyc' ! -name '*.mo' -print0 | sort --zero-terminated | xargs --null sha256sum
  } | sha256sum | cut -c 1-12
}

build_release() {
  release=$releases/$(release_id)
  if [ -e "$release/.complete" ]; then
    step "$release is there already"
    return
  fi
  step "$release: code, and what requirements.lock names"
  rm -rf "$release"
  mkdir "$release"
  tar --directory "$source_dir" --exclude=__pycache__ --exclude='*.mo' -c "${shipped[@]}" |
    tar --directory "$release" --no-same-owner -x
  "$python" -m venv "$release/.venv"
  "$release/.venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --root-user-action ignore \
    --require-hashes --requirement "$release/requirements.lock" || fail "the packages of requirements.lock could not be installed."
  "$release/.venv/bin/pybabel" --quiet compile --directory "$release/bx24app/translations"
  "$release/.venv/bin/python" -m compileall -q "$release/bx24app" "$release"/*.py
  touch "$release/.complete"
}

prepare_settings() {
  candidate=$settings
  [ -e "$settings" ] && return
  step "$settings with new secrets"
  candidate=$settings.new
  (umask 077 && new_settings >"$candidate")
}

render() {
  local text name
  text=$(cat "$1")
  for name in DOMAIN PUBLIC_URL CERTIFICATE CERTIFICATE_KEY LISTEN_HTTP LISTEN_HTTPS UPSTREAM ACCESS_LOG ERROR_LOG \
    RELEASE SETTINGS DATA SOCKET USER PROXY_GROUP; do
    text=${text//"\${$name}"/"${values[$name]}"}
  done
  printf '%s\n' "$text"
}

# A port alone is every address, of both kinds where the machine has both.
listen_lines() {
  if [[ $1 =~ ^[0-9]+$ ]] && [ -e /proc/net/if_inet6 ]; then
    printf '%s%s;\n    listen [::]:%s' "$1" "$2" "$1"
  else
    printf '%s' "$1"
  fi
}

install_site() {
  local site=$nginx/sites-available/callback-desk before='' said
  [ ! -e "$site" ] || before=$(cat "$site")
  render "$source_dir/deploy/nginx.conf" >"$site"
  ln -sfn "$site" "$nginx/sites-enabled/callback-desk"
  # nginx that begins anew closes connections on which people may be asking.
  [ "$(cat "$site")" = "$before" ] || nginx_changes=yes
  if ! said=$(nginx -t -q -c "$nginx/nginx.conf" 2>&1); then
    if [ -n "$before" ]; then printf '%s\n' "$before" >"$site"; else rm "$nginx/sites-enabled/callback-desk" "$site"; fi
    fail "nginx does not accept the site: $said"
  fi
}

# The number that nginx has for a directive, in whichever of its files.
nginx_number() {
  { nginx -T -q -c "$nginx/nginx.conf" 2>/dev/null || true; } |
    sed -nE "s/^([^#]*[[:space:]{;])?$1[[:space:]]+([0-9]+);.*/\2/p"
}

# Begun handshakes have a connection each before any limit of the site counts; Debian's nginx takes 768 a process.
# nginx lets no other file say it, so its own line is changed, and the file of before stays beside it.
raise_connections() {
  local conf=$nginx/nginx.conf line='^([^#]*\bworker_connections[[:space:]]+)[0-9]+;' present
  present=$(nginx_number worker_connections)
  if [ "${present:-512}" -lt 4096 ] && grep -qE "$line" "$conf"; then
    step "$conf: worker_connections 8192 instead of $present"
    sed -E -i.before-callback-desk --follow-symlinks "s/$line/\18192;/" "$conf"
    nginx_changes=yes
  fi
  [ -z "$(nginx_number worker_rlimit_nofile)" ] || return 0
  local files=$nginx/modules-enabled/callback-desk.conf
  install -d -m 0755 "$(dirname "$files")"
  printf '# Each connection is a file, and the app behind it another one.\nworker_rlimit_nofile 20000;\n' >"$files"
  if [ -n "$(nginx_number worker_rlimit_nofile)" ]; then nginx_changes=yes; else rm "$files"; fi
}

# What is left to the operator, said last, where it is seen.
advise() {
  local present
  present=$(nginx_number worker_connections)
  if [ "${present:-512}" -lt 4096 ] || [ -z "$(nginx_number worker_rlimit_nofile)" ]; then
    step "$nginx/nginx.conf takes few connections, and one stranger can hold them all. Write into it:" \
      "worker_rlimit_nofile 20000; events { worker_connections 8192; }"
  fi
  nft list table inet callback_desk >/dev/null 2>&1 ||
    step "nothing limits how many connections one address begins: docs/operating.md, \"Firewall\", has the rule."
}

install_units() {
  local unit
  for unit in "$source_dir"/deploy/systemd/*; do
    render "$unit" >"$units/$(basename "$unit")"
  done
  ln -sfn "$release/deploy/callback-desk" "$prefix/usr/local/sbin/callback-desk"
}

switch_over() {
  [ "$candidate" = "$settings" ] || mv "$candidate" "$settings"
  install_units
  step "start"
  systemctl daemon-reload
  systemctl enable --now callback-desk-web.socket
  systemctl enable callback-desk-web.service callback-desk-worker.service nginx.service
  systemctl restart callback-desk-web.service callback-desk-worker.service
  if [ $nginx_changes = yes ] || ! systemctl is-active --quiet nginx.service; then
    systemctl reload-or-restart nginx.service
  fi
  "$python" - "$socket" <<'CODE' || fail "the web process does not answer: journalctl --unit callback-desk-web says why."
import socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.settimeout(60)
    asked.connect(sys.argv[1])
    asked.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    sys.exit(b" 200 " not in asked.recv(100))
CODE
}

# The two newest stay: the one that ran until now is the way back.
remove_old_releases() {
  local old
  find "$releases" -mindepth 1 -maxdepth 1 -type d ! -path "$release" -printf '%T@ %p\n' | sort -rn | tail -n +2 |
    cut -d ' ' -f 2- | while IFS= read -r old; do rm -rf "$old"; done
}

clean_up() {
  rm -f "$settings.new"
  [ -z "${release:-}" ] || [ -e "$release/.complete" ] || rm -rf "$release"
}

main() {
  read_arguments "$@"
  check_machine
  check_certificate
  if [ -e "$settings" ]; then check_existing_settings; else check_new_settings; fi
  check_ports
  umask 022
  trap clean_up EXIT
  make_user_and_folders
  exec 9>"$(dirname "$settings")/.lock"
  flock --nonblock 9 || fail "is running already."
  build_release
  prepare_settings
  declare -gA values=([DOMAIN]=$domain [PUBLIC_URL]=$public_url [CERTIFICATE]=$certificate
    [CERTIFICATE_KEY]=$certificate_key [LISTEN_HTTP]=$(listen_lines "$listen_http")
    [LISTEN_HTTPS]=$(listen_lines "$listen_https" " ssl http2") [UPSTREAM]=unix:$socket
    [ACCESS_LOG]=$prefix/var/log/nginx/callback-desk.log [ERROR_LOG]=$prefix/var/log/nginx/callback-desk.error.log
    [RELEASE]=$release [SETTINGS]=$settings [DATA]=$data [SOCKET]=$socket [USER]=$user
    [PROXY_GROUP]=$(id -gn www-data 2>/dev/null || printf 'root'))
  step "database"
  CALLBACK_DESK_SETTINGS=$candidate "$release/deploy/callback-desk" db upgrade ||
    fail "the database is not at this version; what ran before goes on."
  install_site
  raise_connections
  switch_over
  remove_old_releases
  step "doctor"
  local healthy=yes
  "$prefix/usr/local/sbin/callback-desk" doctor || healthy=no
  registration
  advise
  [ $healthy = yes ] || fail "is installed and runs; the doctor above says what is wrong with it."
}

# Tests take single steps.
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
