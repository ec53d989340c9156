# Curves that summarize lines, such as those of rays (nk-plot curve --by ray --summary) or of paths
# (nk-plot paths).
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_TMPDIR"
  # 12 rays of two directions, each with its own height, at 6 radii; ray 3 lacks the last two.
  awk 'BEGIN { OFS = "\t"; print "ray", "direction", "radius", "kl"
    for (r = 0; r < 12; r++) for (i = 1; i <= 6; i++)
      if (r != 3 || i < 5) print r, r % 2 ? "pc" : "isotropic", i / 2, (r * 7 % 12 + 1) * i * i }' >rays.tsv
}

# Templates that write the data of the lines instead of drawing them.
data() { picture curve "$@"; }
picture() {
  mkdir -p templates
  echo >templates/style.gp
  printf '%s\n' 'set print "knots"' 'print $Knots' 'set print "strands"' 'print $Strands' \
    'set print "numbers"' 'print Band, Ramp, Strands_n' 'plot 1' >templates/curve.gp
  NOKEN_PLOTS=$PWD/templates nk-plot "$@" --format svg >/dev/null
  sed -i '/^$/d' knots
}

# nk-summary's numbers, as x value lo hi.
summary() {
  nk-summary "$@" | awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { print $at["radius"], $at["value"], $at["low"], $at["high"] }'
}

@test "the bold lines have the values and the intervals that nk-summary gives of the rays" {
  for statistic in median mean; do
    data -x radius -y kl --by ray --summary $statistic --colour direction rays.tsv
    summary --by direction,radius --$statistic kl --cluster ray -q rays.tsv >expected
    [ "$(wc -l <expected)" -eq 12 ]
    diff expected knots
    data -x radius -y kl --by ray --summary $statistic --seed 7 rays.tsv
    summary --by radius --$statistic kl --cluster ray --seed 7 -q rays.tsv >expected
    diff expected knots
  done
}

@test "each ray is a thin line of its own rows" {
  data -x radius -y kl --by ray --summary median --colour direction rays.tsv
  # a ray's points, in order of x; an empty line after each, two after a direction
  awk -F'\t' 'NR > 1 && $2 == "isotropic" { if (NR > 2 && $1 != last) print ""; print $3, $4; last = $1 }' \
    rays.tsv >expected
  sed '/^$/{N;/^\n$/Q}' strands | head -n "$(wc -l <expected)" | diff expected -
  [ "$(grep -c . strands)" -eq 70 ]
  [ "$(grep -c '^$' strands)" -ge 12 ]
  [ "$(cut -d ' ' -f 3 numbers)" = 12 ]
  data -x radius -y kl --by ray --summary median --colour direction --no-lines rays.tsv
  [ "$(cut -d ' ' -f 3 numbers)" = 0 ]
  run ! grep -q . strands
}

@test "several rows of a ray at one x count once" {
  # each of the two rays has 2 and 4 at x = 1, and many copies of a third one do not outweigh it
  printf 'x\ty\tray\n1\t2\ta\n1\t4\ta\n1\t10\tb\n1\t10\tb\n1\t10\tb\n1\t10\tb\n1\t20\tc\n' >copies.tsv
  data -x x -y y --by ray --summary median copies.tsv
  [ "$(cut -d ' ' -f 1-2 knots)" = "1 10" ]
  [ "$(sort -k 2n strands | sed '/^$/d' | tr '\n' ,)" = "1 3,1 10,1 20," ]
  data -x x -y y --by ray --summary mean copies.tsv
  [ "$(cut -d ' ' -f 1-2 knots)" = "1 11" ]
}

@test "with many values of x the summary has bins and the thin lines have all points" {
  awk 'BEGIN { OFS = "\t"; print "ray", "x", "y"
    for (r = 0; r < 5; r++) for (i = 0; i < 100; i++) print r, i + r / 10, r }' >many.tsv
  data -x x -y y --by ray --summary mean --bins 10 many.tsv
  [ "$(wc -l <knots)" -eq 10 ]
  [ "$(cut -d ' ' -f 2 knots | sort -u)" = 2 ] # of 0, 1, 2, 3, 4
  [ "$(grep -c . strands)" -eq 500 ]
}

@test "--band and --interval choose another band of the rays" {
  data -x radius -y kl --by ray --summary median --band 0:100 rays.tsv
  [ "$(head -n 1 knots)" = "0.5 6.5 1 12" ]
  data -x radius -y kl --by ray --summary median --band 50:50 rays.tsv
  [ "$(head -n 1 knots)" = "0.5 6.5 6.5 6.5" ]
  [ "$(cut -d ' ' -f 1 numbers)" = 0 ]
  nk-plot curve -x radius -y kl --by ray --summary mean -o mean.svg rays.tsv
  grep -qF '>kl (mean over ray, 95% interval)<' mean.svg
  nk-plot curve -x radius -y kl --by ray --summary median --band 25:75 -o band.svg rays.tsv
  grep -qF '>kl (median over ray, 25–75%)<' band.svg
  nk-plot curve -x radius -y kl --by ray --summary median --band 50:50 -o none.svg rays.tsv
  grep -qF '>kl (median over ray)<' none.svg
}

@test "colours by many numbers follow a scale, with bands" {
  awk -F'\t' 'BEGIN { OFS = FS } NR == 1 { print $0, "layer"; next }
    { for (l = 0; l < 13; l++) print $1, $2, $3, $4 * l, l }' rays.tsv >layers.tsv
  data -x radius -y kl --by ray --summary median --colour layer layers.tsv
  [ "$(cut -d ' ' -f 1-2 numbers)" = "1 1" ]
  [ "$(wc -l <knots)" -eq 78 ]
  nk-plot curve -x radius -y kl --by ray --summary median --colour layer -o p.svg layers.tsv
  grep -qF '>layer<' p.svg
}

@test "hundreds of lines are drawn, in every format, and twice the same bytes" {
  awk 'BEGIN { OFS = "\t"; print "ray", "x", "y"
    for (r = 0; r < 500; r++) for (i = 0; i < 50; i++) print r, i, (r * 7919 % 500) * i }' >many.tsv
  local format
  SECONDS=0
  for format in png svg pdf text; do
    nk-plot curve -x x -y y --by ray --summary median --format $format many.tsv >one
    nk-plot curve -x x -y y --by ray --summary median --format $format --threads 1 many.tsv >two
    cmp one two
  done
  [ "$SECONDS" -le 40 ]
  run -2 nk-plot curve -x x -y y --by ray -o p.png many.tsv
  [ "$output" = "nk-plot: column 'ray' makes 500 lines: the limit is 8, or 64 for a column of numbers; \
any number where they are summarized" ]
}

@test "options of a summary that do not fit together are usage errors" {
  run -2 nk-plot curve -x radius -y kl --summary median -o p.png rays.tsv
  [ "$output" = "nk-plot: a summary of lines needs the column that makes them; use --by" ]
  run -2 nk-plot curve -x radius -y kl --by ray --summary mode -o p.png rays.tsv
  run -2 nk-plot curve -x radius -y kl --by direction --colour ray -o p.png rays.tsv
  run -2 nk-plot curve -x radius -y kl --by direction --no-lines -o p.png rays.tsv
  run -2 nk-plot scatter -x radius -y kl --by direction --summary median -o p.png rays.tsv
  run -1 nk-plot curve -x radius -y kl --by ray --summary median --colour nothing -o p.png rays.tsv
  printf 'x\tstatistic\tvalue\tlow\thigh\n1\tm\t4\t3\t5\n' >s.tsv
  run -2 nk-plot curve -x x -y m --by x --summary median -o p.png s.tsv
  [ "$output" = "nk-plot: s.tsv: a table of statistics is not summarized again" ]
  [ ! -e p.png ]
}

@test "paths are the median over pairs by layer, along a scale, and one layer has a line per pair" {
  awk 'BEGIN { OFS = "\t"; print "pair", "layer", "t", "relative"
    for (p = 0; p < 9; p++) for (l = 1; l < 4; l++) for (i = 0; i <= 50; i++)
      print p, l, i / 50, (i / 50) ^ (l + p / 9) }' >paths.tsv
  picture paths paths.tsv
  [ "$(cat numbers)" = "1 1 0" ]
  [ "$(wc -l <knots)" -eq 153 ]
  cp knots by_default
  data -x t -y relative --by pair --colour layer --summary median --no-lines paths.tsv
  cmp knots by_default
  [ "$(cat numbers)" = "1 0 0" ] # another kind has a colour each
  awk -F'\t' 'NR == 1 || $2 == 2' paths.tsv | cut -f 1,3- >one.tsv
  picture paths one.tsv
  [ "$(cat numbers)" = "1 0 9" ]
  [ "$(wc -l <knots)" -eq 51 ]
  picture paths --summary mean --by layer --colour pair -y t paths.tsv
  [ "$(head -n 2 knots | tail -n 1 | cut -d ' ' -f 1-2)" = "0.02 0.02" ]
  run -1 nk-plot paths -o p.png rays.tsv
  [[ "$output" == *"'t'"* ]]
}

@test "distances that differ by rounding are one position, and whole numbers stay apart" {
  awk 'BEGIN { OFS = "\t"; print "ray", "radius", "y"; CONVFMT = "%.9g"
    for (ray = 0; ray < 99; ray++) for (r = 1; r <= 3; r++)
      print ray, (r * (1 + 5e-7 * (ray % 13 - 6))) "", ray % 7 }' >rounded.tsv
  [ "$(cut -f 2 rounded.tsv | sort -u | wc -l)" -eq 40 ] # and the header
  data -x radius -y y --by ray --summary median rounded.tsv
  [ "$(wc -l <knots)" -eq 3 ]
  sed 's/\t\([123]\)\(\.[0-9]*\)*\t/\t\1\2\t/; 1!s/\t1\.00000[0-9]*\t/\t1.0003\t/' rounded.tsv >apart.tsv
  data -x radius -y y --by ray --summary median apart.tsv
  [ "$(wc -l <knots)" -eq 4 ]
  awk 'BEGIN { OFS = "\t"; print "step", "y"; for (i = 0; i < 20; i++) print 200000 + i, i }' >steps.tsv
  data -x step -y y steps.tsv
  [ "$(wc -l <knots)" -eq 20 ]
  data -x step -y y --log x steps.tsv
  [ "$(wc -l <knots)" -eq 20 ]
}
