# Sourced by ./fairlead, ./check and ./bench: builds the Python environment in .venv when it is missing or stale.
# The caller sets `here` (the repository) and `lock` (the lock file it needs) and then calls `ensure_environment`.

say() { printf '%s\n' "$*" >&2; }

# without_services COMMAND... : runs it while Debian's packages may not start what they install: NGINX is only wanted as
# a program, and another one may have this machine's ports. Source: invoke-rc.d(8), policy-rc.d.
without_services() {
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes; }
  DEBIAN_FRONTEND=noninteractive "$@"
  code=$?
  [ -z "${made:-}" ] || rm -f "$policy"
  return "$code"
}

# lacking COMMAND:PACKAGE... : prints the Debian packages whose command, or file where it begins with /, is not there.
lacking() {
  for pair in "$@"; do
    case $pair in
      /*) [ -e "${pair%%:*}" ] || printf ' %s' "${pair#*:}" ;;
      *) command -v "${pair%%:*}" >/dev/null 2>&1 || printf ' %s' "${pair#*:}" ;;
    esac
  done
}

# What the ingress controller needs. Others of Fairlead do without.
INGRESS_PACKAGES='nginx:nginx /usr/lib/nginx/modules/ngx_http_lua_module.so:libnginx-mod-http-lua
  /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream /usr/share/doc/lua-cjson:lua-cjson'

# ensure_packages COMMAND:PACKAGE... : installs the Debian packages that are missing, or names them and stops.
ensure_packages() {
  missing=$(lacking "$@")
  python3 -c 'import ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
  [ -z "$missing" ] && return 0
  if can_install; then
    install_packages "$missing" || exit 3
  else
    say "fairlead: these system packages are missing:$missing"
    say "  as root: apt-get install$missing"
    exit 3
  fi
}

# wish_for_packages COMMAND:PACKAGE... : installs them where that is possible, or says what is not to be had without.
wish_for_packages() {
  missing=$(lacking "$@")
  [ -z "$missing" ] && return 0
  if can_install; then
    install_packages "$missing" || say '  going on without'
  else
    say "fairlead: some parts need system packages that are missing; as root: apt-get install$missing"
  fi
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

install_packages() {
  say "fairlead: installing system packages:$1"
  # shellcheck disable=SC2086
  if ! { apt-get update -qq && without_services apt-get install -y -qq --no-install-recommends $1; } >&2; then
    say "fairlead: could not install:$1"
    say "  install them with your package manager and try again"
    return 1
  fi
  for service in nginx frr haproxy; do
    case "$1 " in
      *" $service "*) command -v systemctl >/dev/null 2>&1 && systemctl disable -q "$service" >/dev/null 2>&1 ;;
    esac
  done
  return 0
}

python_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

ensure_environment() {
  stamp="$here/.venv/$(basename "$lock").installed"
  cmp -s "$lock" "$stamp" && return 0
  python=''
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && python_new_enough "$candidate"; then python=$candidate; break; fi
  done
  if [ -z "$python" ]; then
    say 'fairlead: Python 3.11 or newer is needed and none was found on PATH'
    exit 3
  fi
  say "fairlead: building the Python environment in .venv (first run, or the lock changed; about a minute)"
  if ! "$here/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$here/.venv" # what an earlier run could not finish
    "$python" -m venv "$here/.venv" >&2 || { say "fairlead: cannot create $here/.venv; is the folder writable?"; exit 3; }
  fi
  if ! "$here/.venv/bin/python" -m pip install --disable-pip-version-check -q --require-hashes -r "$lock" >&2; then
    say 'fairlead: the Python packages could not be installed; the lines above say why'
    exit 3
  fi
  site=$("$here/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$here/src" >"$site/fairlead.pth"
  "$here/.venv/bin/python" -m compileall -q "$here/src" >/dev/null 2>&1 || true
  cp "$lock" "$stamp"
  say 'fairlead: environment ready'
}
