#!/bin/sh
# The agent's anomaly scores and flags on public data, scored: NAB (standard, host files), SMD, ASD.
#
#     bench/anomaly_sets.sh AGENT KIT [DIR]
#
# KIT is a folder with the data and independent scorers: export_inputs.py DIR makes DIR/nab/*/*.csv, DIR/smd/*.csv,
# DIR/asd/*.csv; score_nab.py DIR [--subset host] and score_smd.py DIR --set smd|asd read one CSV a series with the
# columns anomaly_score and flag, a row a row of the input. Needs python3-numpy. DIR keeps inputs and answers (default: a
# temporary one, removed). It prints what the scorers say and the CPU time of a row.
set -eu
agent=$(realpath "$1")
kit=$(realpath "$2")
python=${PYTHON:-/usr/bin/python3}
if [ $# -gt 2 ]; then
  mkdir -p "$3"
  where=$3
else
  where=$(mktemp -d)
  trap 'rm -rf "$where"' EXIT
fi
cd "$where"
if [ ! -d in ]; then
  "$python" "$kit/export_inputs.py" part > /dev/null
  mv part in
fi
rm -rf out

# SET FLAGS...: every file of the set through the agent. Exit code 1 says that lines were odd; an answer has a row for each all the same.
replay() {
  set_name=$1
  shift
  rows=0
  times > before  # of this shell, not of a pipe's
  for file in $(cd in && find "$set_name" -name '*.csv' | sort); do
    mkdir -p "out/$(dirname "$file")"
    "$agent" replay "in/$file" "$@" > "out/$file" 2> out/said || cat out/said >&2
    if [ "$(wc -l < "in/$file")" -ne "$(wc -l < "out/$file")" ]; then
      echo "$file: not as many rows as it was given" >&2
      exit 1
    fi
    rows=$((rows + $(wc -l < "in/$file") - 1))
  done
  times > after
  cat before after | awk -v rows="$rows" '
    function seconds(t, p) { split(t, p, "[ms]"); return 60 * p[1] + p[2] }
    NR == 2 { before = seconds($1) }
    NR == 4 { printf "%d rows, %.2f us of user time a row, reading and printing included\n", rows, 1e6 * (seconds($1) - before) / rows }'
}

echo "load average $(cut -d' ' -f1 /proc/loadavg)"
echo "== NAB"
replay nab
"$python" "$kit/score_nab.py" out/nab
echo "== NAB, host files"
"$python" "$kit/score_nab.py" out/nab --subset host
for set in smd asd; do
  echo "== $set"
  replay "$set" --multivariate
  "$python" "$kit/score_smd.py" "out/$set" --set "$set"
done
