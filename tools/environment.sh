# Sourced by ./fairlead, ./check and ./bench: builds the Python environment in .venv when it is missing or stale.
# The caller sets `here` (the repository) and `lock` (the lock file it needs) and then calls `ensure_environment`.

say() { printf '%s\n' "$*" >&2; }

# ensure_packages COMMAND:PACKAGE... : installs the Debian packages whose command is missing, or names them and stops.
ensure_packages() {
  missing=''
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
  done
  python3 -c 'import ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
  [ -z "$missing" ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "fairlead: installing system packages:$missing"
    # shellcheck disable=SC2086
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >&2; then
      say "fairlead: could not install:$missing"
      say "  install them with your package manager and try again"
      exit 3
    fi
  else
    say "fairlead: these system packages are missing:$missing"
    say "  as root: apt-get install$missing"
    exit 3
  fi
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
