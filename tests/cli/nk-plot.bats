# nk-plot as a user calls it. Pictures are checked by the signatures of their formats and by their text.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_TMPDIR"
  # 300 rows in a cloud, and five far from it with hostile texts.
  awk 'BEGIN {
    OFS = "\t"; print "id", "text", "a_b", "y", "steps", "kind"
    for (i = 0; i < 300; i++)
      print i, "tok" i, 3 + sin(i * 1.7) * cos(i * 0.3), 6 + cos(i * 2.3), i % 50,
        i % 3 ? "odd" : "even"
    print 300, "\x27; system(\"touch inj..\")", 9, 1, 0, "far"
    print 301, "`touch injected` @x $y", 9.5, 9, 0, "far"
    print 302, "<b>&amp;{a}^b_c", -3, 2, 0, "far"
    print 303, " \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 ", -3, 9, 0, "far"
    print 304, "\\x00\\n\\\\", 2, 14, 0, "far" }' >t.tsv
}

# Width and height in a PNG's header, after its signature.
png_size() {
  [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]
  od -An -tu1 -j16 -N8 "$1" | awk '{ print ($3 * 256 + $4) "x" ($7 * 256 + $8) }'
}

@test "a PNG has the size asked for, in pixels of the resolution asked for" {
  nk-plot scatter -x a_b -y y -o p.png t.tsv
  [ "$(png_size p.png)" = 1200x800 ]
  nk-plot scatter -x a_b -y y --size 640x480 t.tsv >p.png
  [ "$(png_size p.png)" = 640x480 ]
  nk-plot histogram -x y --size 640x480 --dpi 192 -o p.png <t.tsv
  [ "$(png_size p.png)" = 1280x960 ]
  nk-plot histogram -x y --format svg t.tsv | grep -q 'viewBox="0 0 660 440"'
}

@test "an SVG has the labels as text, escaped, and no token is executed as a command" {
  nk-plot scatter -x a_b -y y --label 5 --title "A \"title\" & 'more'" -o p.svg t.tsv
  [ ! -e injected ] && [ ! -e inj.. ]
  grep -qF "'; system(\"touch inj..\")" p.svg
  grep -qF '`touch injected` @x $y' p.svg
  grep -qF '&lt;b>&amp;amp;{a}^b_c' p.svg
  grep -qF '␣привет␣' p.svg
  grep -qF '\x00\n\\' p.svg
  grep -qF '<text>a_b</text>' p.svg
  run ! grep -qF 'tok' p.svg
  if command -v xmllint; then xmllint --noout p.svg; fi
}

@test "points of an SVG are short paths at their places, and its title is bold" {
  awk 'BEGIN { OFS = "\t"; print "id", "x", "y", "kind"
    for (i = 0; i <= 400; i++) print i, i / 100, 4 - i / 100, i % 2 ? "odd" : "even" }' >line.tsv
  for by in "" "--by kind" "--mark kind=odd"; do
    nk-plot scatter -x x -y y --xrange 0:4 --yrange 0:4 --title Line $by -o p.svg line.tsv
    grep 'h0' p.svg | sed "s/.*d='M//; s/h0'.*//; s/h0M/\n/g" | tr , '\t' >dots.tsv
    # Equal steps, from the left end of the upper edge to the right end of the lower one.
    sort -n dots.tsv | awk -v by="$by" '
      NR == FNR { if (/gridline/ && match($0, /M[0-9.]+,[0-9.]+ L[0-9.]+,[0-9.]+/)) {
          split(substr($0, RSTART + 1, RLENGTH - 1), at, /[ ,L]+/)
          if (at[1] == at[3]) { if (!n++) left = at[1]; right = at[1] }
          else { if (!m++) lower = at[2]; upper = at[2] } }
        next }
      $1 >= left - 0.1 && $2 >= upper - 0.1 { found++
        share = ($1 - left) / (right - left) - ($2 - upper) / (lower - upper)
        if (share > 0.001 || share < -0.001) bad = bad " " $0 }
      END { if (bad || right - left < 500 || found < 401) { print by, left, right, lower, upper, found, bad; exit 1 } }
    ' p.svg -
    grep -q 'font-family="DejaVu Sans" font-weight="bold"' p.svg
    [ "$(grep -c '<use' p.svg)" -eq 7 ] # of gnuplot's definitions
    if command -v xmllint; then xmllint --noout p.svg; fi
  done
}

@test "scree draws the edge of noise where the table has it" {
  printf 'component\tratio\tnoise_ratio\n1\t0.7\t0.4\n2\t0.3\t0.4\n' >noise.tsv
  nk-plot scree --format svg noise.tsv | grep -q '<text>noise edge</text>'
  sed 's/0.4$//' noise.tsv >missing.tsv
  cut -f 1-2 noise.tsv >without.tsv
  nk-plot scree --format svg missing.tsv >missing.svg
  nk-plot scree --format svg without.tsv | cmp - missing.svg
  run -1 grep -q 'noise edge' missing.svg
  # Not of other columns, which have other units.
  nk-plot scree -y noise_ratio --format svg noise.tsv >other.svg
  run -1 grep -q 'noise edge' other.svg
  sed 's/0.4$/much/' noise.tsv >bad.tsv
  run -1 nk-plot scree --format svg bad.tsv
  [[ "$output" == *"bad.tsv"*"noise_ratio"*"much"* ]]
}

@test "every kind draws in every format, and twice the same bytes" {
  awk 'BEGIN { OFS = "\t"; print "component", "eigenvalue", "ratio", "cumulative"
    for (i = 1; i <= 8; i++) { c += 2 ^ -i; print i, 2 ^ -i, 2 ^ -i, c } }' >spectrum.tsv
  awk 'BEGIN { OFS = "\t"; print "pair", "layer", "t", "relative"
    for (p = 0; p < 9; p++) for (l = 0; l < 5; l++) for (i = 0; i <= 10; i++)
      print p, l, i / 10, (i / 10) ^ (1 + l / 4) }' >paths.tsv
  local format kind
  for format in png svg pdf text; do
    for kind in "histogram -x y --label 3" "scatter -x a_b -y y --by kind --label 3" \
      "scatter -x a_b -y y -z steps" "curve -x steps -y y --by kind" \
      "heatmap -x steps -y kind -z y" "scree" "paths"; do
      local table=t.tsv
      [ "$kind" = scree ] && table=spectrum.tsv
      [ "$kind" = paths ] && table=paths.tsv
      # shellcheck disable=SC2086
      nk-plot $kind --format $format $table >one
      # shellcheck disable=SC2086
      TZ=Asia/Tokyo LC_ALL=C nk-plot $kind --format $format --threads 1 $table >two
      cmp one two
      case $format in
        png) [ "$(png_size one)" = 1200x800 ] ;;
        svg) grep -q '</svg>' one ;;
        pdf) [ "$(head -c 5 one)" = %PDF- ] ;;
        text) [ "$(wc -l <one)" -ge 28 ] ;;
      esac
    done
  done
}

@test "marks, groups, cuts and outlines appear by name" {
  printf 'a_b\ty\n1\t1\n2\t3\n\t\n3\t3\n4\t1\n' >outline.tsv
  nk-plot scatter -x a_b -y y --mark 'steps=0' --line 'x=4:the cut' --line y=8 \
    --ellipse outline.tsv -o p.svg t.tsv
  grep -qF '<text>steps=0 (11)</text>' p.svg # 6 in the cloud, 5 far out
  grep -qF '<text>the cut</text>' p.svg
  nk-plot histogram -x y --by kind -o p.svg t.tsv
  grep -qF '<text>% of the group</text>' p.svg
  grep -qF '<text>even</text>' p.svg
  nk-plot curve -x steps -y y --by kind --band 25:75 -o p.svg t.tsv
  grep -qF '<text>y (median, 25–75%)</text>' p.svg
  grep -qF '<text>odd</text>' p.svg
}

@test "the rows asked for are labelled" {
  nk-plot scatter -x a_b -y y --label-ids 7,100-101 -o p.svg t.tsv
  [ "$(grep -cE '<text>tok(7|100|101)</text>' p.svg)" -eq 3 ]
  nk-plot scatter -x a_b -y y --label 2 --label-by id --label-column id -o p.svg t.tsv
  grep -qF '<text>304</text>' p.svg
  grep -qF '<text>303</text>' p.svg
  run -2 nk-plot scatter -x a_b -y y --label-by id t.tsv
  run -1 nk-plot scatter -x a_b -y y --label 3 --label-column nothing -o p.svg t.tsv
  [[ "$output" == *nothing* ]]
}

# Templates that write the lines' knots and the ordinary range instead of drawing them.
knots() {
  mkdir -p templates
  echo >templates/style.gp
  printf '%s\n' 'set print "knots"' 'print $Knots' 'print Bars, Ordinary, Ordinary_at, Ordinary_lo, Ordinary_hi' \
    'plot 1' >templates/curve.gp
  NOKEN_PLOTS=$PWD/templates nk-plot curve "$@" --format svg >/dev/null
  sed -i '/^$/d' knots
}

summary() {
  printf 'kind\tx\tstatistic\tvalue\tlow\thigh\tlevel\tn\tmissing\n%s' \
    $'\t\tmedian y\t4\t3\t5\t0.9\t9\t0\na\t1\tmedian y\t1\t0\t2\t0.9\t9\t0\na\t2\tmedian y\t2\t1\t\t0.9\t9\t0\na\t1\tmean y\t6\t5\t7\t0.9\t9\t0\nb\t1\tmedian y\t3\t2\t4\t0.9\t9\t0\n' >s.tsv
}

@test "a curve of nk-summary's table has its statistics and intervals" {
  summary
  knots -x x --by kind -y 'median y' --ordinary kind= s.tsv
  [ "$(cat knots)" = "1 1 0 2
2 2 1 nan
1 3 2 4
0 1 4 3 5" ]
  nk-plot curve -x x --by kind -y 'median y' --ordinary kind= -o s.svg s.tsv
  grep -qF '>median y (90% interval)<' s.svg
  grep -qF '>ordinary<' s.svg
}

@test "the shares of nk-run --flag-summary are drawn with their intervals, tokens behind them" {
  printf 'flag\tprompt\tdirection\tdistance\tn\tflagged\tshare\tlow\thigh\n%s' \
    $'loop\tp\t\t\t9\t1\t0.1\t0.05\t0.2\nloop\tp\tpair\t1\t9\t2\t0.2\t0.1\t0.3\nloop\tp\tpair\t2\t9\t3\t0.3\t0.2\t0.4\nempty\tp\tpair\t1\t9\t0\t0\t0\t0.1\n' >f.tsv
  knots -x distance -y loop --by direction --ordinary direction= f.tsv
  [ "$(cat knots)" = "1 0.2 0.1 0.3
2 0.3 0.2 0.4
0 1 0.1 0.05 0.2" ]
  nk-plot curve -x distance -y loop --by direction --ordinary direction= -o f.svg f.tsv
  grep -qF '>share of loop (95% interval)<' f.svg
  nk-plot curve -q -x distance -y share -o f.svg f.tsv
  grep -qF '>share (95% interval)<' f.svg
  grep -qF '>empty<' f.svg
  knots -x direction -y loop --by distance f.tsv
  [ "$(tail -n 1 knots | cut -d ' ' -f 1)" = 1 ]
  run -2 nk-plot curve -x distance --by direction -o f.png f.tsv
  [ "$output" = "nk-plot: f.tsv: several flags; choose one, such as -y 'loop'" ]
  run -1 nk-plot curve -x distance -y sob -o f.png f.tsv
  [ "$output" = "nk-plot: f.tsv: no flag 'sob'" ]
}

@test "a band is drawn where both of its ends are known, and nowhere else" {
  filled() { nk-plot curve -x x -y "$@" --format svg | grep -c fill-opacity; }
  printf 'x\ty\n1\t1\n2\t2\n3\t4\n' >line.tsv
  [ "$(filled y line.tsv)" -eq 0 ]
  printf 'x\tstatistic\tvalue\tlow\thigh\n%s' \
    $'1\tm\t4\t3\t5\n2\tm\t4\t3\t\n3\tm\t4\t3\t5\n4\tm\t4\t3\t5\n' >open.tsv
  [ "$(filled m open.tsv)" -eq 1 ]
}

@test "an interval without a level is named without one" {
  summary
  cut -f 1-6 s.tsv >no_level.tsv
  nk-plot curve -x x --by kind -y 'median y' -o s.svg no_level.tsv
  grep -qF '>median y (interval)<' s.svg
}

@test "a column of texts in a summary gives categories with bars" {
  summary
  knots -x kind -y 'median y' --by x s.tsv 2>warnings
  [ "$(tail -n 1 knots | cut -d ' ' -f 1)" = 1 ]
  nk-plot curve -x kind -y 'mean y' -o s.svg s.tsv
  grep -qF '>a<' s.svg
}

@test "a summary that is drawn without a choice of its rows is a usage error" {
  summary
  run -2 nk-plot curve -x x --by kind -o p.png s.tsv
  [ "$output" = "nk-plot: s.tsv: several statistics; choose one, such as -y 'median y'" ]
  run -2 nk-plot curve -x x -y 'median y' -o p.png s.tsv
  [[ "$output" == *"several rows of a group have one value of 'x'; use --by" ]]
  run -1 nk-plot curve -x x --by kind -y 'median z' -o p.png s.tsv
  [ "$output" = "nk-plot: s.tsv: no statistic 'median z'" ]
}

@test "ordinary rows give a range behind the lines and are not of them" {
  { printf 'x\tkind\ty\n'; for i in $(seq 0 100); do printf '1\tplain\t%s\n' $i; done
    printf '1\tnoken\t7\n2\tnoken\t8\n'; } >o.tsv
  knots -x x -y y --ordinary kind=plain o.tsv
  [ "$(cat knots)" = "1 7 7 7
2 8 8 8
0 1 50 5 95" ]
  nk-plot curve -x x -y y --ordinary kind=plain --format text o.tsv >text
  grep -qF 'ordinary, 5–95%: 50 (5 to 95)' text
  { printf 'y\n'; seq 0 100; } >other.tsv
  knots -x x -y y --ordinary-from other.tsv --ordinary 'y>=50' --band 0:100 o.tsv
  [ "$(tail -n 1 knots)" = "0 1 75 50 100" ]
  run -1 nk-plot curve -x x -y y --ordinary kind=other --format png o.tsv
  [ "$output" = "nk-plot: o.tsv: no ordinary row has a number in the column 'y'" ]
  run -2 nk-plot scatter -x x -y y --ordinary kind=plain --format png o.tsv
  run -2 nk-plot curve -x x --ordinary kind=plain --format png o.tsv
  [ "$output" = "nk-plot: missing columns: this picture needs -x, -y" ]
}

@test "ordinary rows have a name in a colour of no group" {
  { printf 'x\tg\ty\n'; for g in 1 2 3 4 5 6 7 8; do printf '1\tg%d\t%d\n2\tg%d\t%d\n' $g $g $g $g; done
    printf '1\tplain\t3\n1\tplain\t6\n'; } >eight.tsv
  nk-plot curve -x x -y y --by g --ordinary g=plain -o eight.svg eight.tsv
  colour() { grep -B 2 -F ">$1<" eight.svg | grep -o 'fill="[^"]*"' | tail -n 1; }
  [ -n "$(colour g8)" ] && [ -n "$(colour 'ordinary, 5–95%')" ]
  [ "$(colour g8)" != "$(colour 'ordinary, 5–95%')" ]
}

@test "--interval draws the interval of the median that nk-summary prints" {
  { printf 'x\ty\n'; for i in $(seq 0 40); do printf '1\t%s\n' $((i * i % 37)); done; } >i.tsv
  knots -x x -y y --interval i.tsv
  [ "$(head -n 1 knots)" = "1 $(nk-summary --median y i.tsv | sed -n 2p | cut -f 2-4 | tr '\t' ' ')" ]
}

@test "numbers that name groups are rounded as far as they stay different" {
  printf 'x\ty\tq\n%s' $'1\t2\t0.1\n2\t3\t0.30000000000000004\n1\t5\t0.7999999999999999\n' >q.tsv
  nk-plot curve -x x -y y --by q -o q.svg q.tsv
  grep -qF '>0.3<' q.svg
  grep -qF '>0.8<' q.svg
  printf 'x\ty\tq\n%s' $'1\t2\t0.99971\n2\t3\t0.99974\n' >q.tsv
  nk-plot curve -x x -y y --by q -o q.svg q.tsv
  grep -qF '>0.99971<' q.svg
}

@test "a heatmap bins many numbers, with --log by their logarithms" {
  awk 'BEGIN { OFS = "\t"; print "x", "y", "z"
    for (i = 0; i < 400; i++) print 10 ^ (i / 100), i % 3, i }' >map.tsv
  nk-plot heatmap -x x -y y -z z --log x --bins 4 -o p.svg map.tsv
  # four bins over 10^0 to 10^3.99: the first from 1 to 9.94, its middle 10^0.49875
  grep -qF '<text>3.15</text>' p.svg
  grep -qF '<text>y</text>' p.svg
  echo "-5	1	1" >>map.tsv
  run -1 nk-plot heatmap -x x -y y -z z --log x --bins 4 -o p.svg map.tsv
  [[ "$output" == *"'-5' is in no bin"* ]]
}

@test "JSON Lines give the same picture as TSV" {
  awk -F'\t' 'NR > 1 { printf "{\"id\": %d, \"u\": %s, \"v\": %s}\n", $1, $3, $4 }' t.tsv >t.json
  cut -f 1,3,4 t.tsv | sed '1s/.*/id\tu\tv/' >u.tsv
  nk-plot scatter -x u -y v --label 4 --format svg <t.json >one
  nk-plot scatter -x u -y v --label 4 --format svg <u.tsv >two
  cmp one two
}

@test "a terminal gets text without escape sequences" {
  run -0 nk-plot histogram -x y --format text --size 60x16 t.tsv
  [ "${#lines[@]}" -ge 14 ]
  [[ "${lines[0]}" == count* ]]
  [[ "$output" == *'*'* ]]
  run ! grep -q "$(printf '\033')" <<<"$output"
  if ! command -v script; then skip "no script(1) to make a terminal"; fi
  run -0 script -qec "nk-plot histogram -x y t.tsv" /dev/null
  [[ "$output" == *count* ]]
}

@test "rows that cannot be drawn are counted in a warning" {
  printf 'x\ty\n1\t1\n2\t\n3\tnan\n4\t-inf\n5\t-5\n6\t6\n' >bad.tsv
  run -0 --separate-stderr nk-plot scatter -x x -y y --log y --format text bad.tsv
  [[ "$stderr" == *"2 points left out: a number is missing"* ]]
  [[ "$stderr" == *"1 points left out: not a finite number"* ]]
  [[ "$stderr" == *"1 points left out: zero or less on a logarithmic axis"* ]]
  run -0 --separate-stderr nk-plot scatter -x x -y y --log y --format text -q bad.tsv
  [ -z "$stderr" ]
}

@test "a table without a row to draw is a data error" {
  printf 'x\ty\n' >empty.tsv
  run -1 bash -c "nk-plot scatter -x x -y y --format text <empty.tsv"
  [ "$output" = "nk-plot: standard input: the table has no rows" ]
  printf 'x\ty\n\t1\n' >missing.tsv
  run -1 nk-plot scatter -q -x x -y y --format text missing.tsv
  [ "$output" = "nk-plot: missing.tsv: no row can be drawn" ]
  run -1 nk-plot scatter -x a_b -y nothing --format text t.tsv
  [[ "$output" == *nothing*steps* ]] # the columns there are
  run -1 nk-plot scatter -x a_b -y text --format text t.tsv
  [[ "$output" == *tok0* ]]
  run -1 nk-plot scatter -x x -y y --format text not-there.tsv
  run -1 nk-plot scatter -x x -y y --format text /dev/null
}

@test "one row, one value and one group are drawn" {
  printf 'x\ty\tg\n3\t4\ta\n' >one.tsv
  local kind
  for kind in "histogram -x x" "histogram -x x --log xy" \
    "scatter -x x -y y --label 3 --label-column g" "curve -x x -y y" \
    "heatmap -x x -y y -z x" "scree -x x -y y"; do
    # shellcheck disable=SC2086
    nk-plot $kind -o p.svg one.tsv
    # shellcheck disable=SC2086
    nk-plot $kind --format text one.tsv >p.txt
  done
  printf 'x\ty\n1e300\t-1e-300\n-9e299\t1e-300\n' | nk-plot scatter -q -x x -y y -o p.svg
}

@test "options that do not fit together are usage errors" {
  run -2 nk-plot pie -x a_b t.tsv
  run -2 nk-plot
  run -2 nk-plot scatter -x a_b t.tsv
  run -2 nk-plot histogram -x a_b --size 12 t.tsv
  run -2 nk-plot histogram -x a_b --log q t.tsv
  run -2 nk-plot histogram -x a_b --line z=1 t.tsv
  run -2 nk-plot histogram -x a_b --log x --line x=-1 t.tsv
  run -2 nk-plot histogram -x a_b -o p.jpeg t.tsv
  run -2 nk-plot scatter -x a_b -y y --xrange 5:1 -o p.png t.tsv
  run -2 nk-plot heatmap -x a_b -y y -z id --mark steps t.tsv
  run -2 nk-plot curve -x a_b -y y --by text -o p.png t.tsv
  run -2 nk-plot curve -x a_b -y y --band 95:5 t.tsv
  [ ! -e p.jpeg ] && [ ! -e p.png ]
}

@test "a full disk is an error, a closed pipe is not, and a failure leaves the old file" {
  [ -e /dev/full ] || skip "no /dev/full"
  run -1 bash -c 'nk-plot scatter -x a_b -y y --format png t.tsv >/dev/full'
  [[ "$output" == *"No space left"* ]]
  run -0 bash -c 'nk-plot scatter -x a_b -y y --format svg t.tsv | head -c 10 >/dev/null'
  [ -z "$output" ]
  echo old >p.png
  run -1 nk-plot scatter -x a_b -y nothing -o p.png t.tsv
  [ "$(cat p.png)" = old ]
}

@test "the error names a missing gnuplot, and has the message of a failing one" {
  mkdir bin
  ln -s "$(command -v nk-plot)" bin/
  PATH=$PWD/bin run -1 nk-plot scatter -x a_b -y y --format png t.tsv
  [[ "$output" == *"gnuplot is not installed"* ]]
  mkdir templates
  echo 'plot nothing_like_that(x)' >templates/style.gp
  NOKEN_PLOTS=$PWD/templates run -1 nk-plot scatter -x a_b -y y --format png t.tsv
  [[ "$output" == *"scatter.gp: no such template"* ]]
  touch templates/scatter.gp
  NOKEN_PLOTS=$PWD/templates run -1 nk-plot scatter -x a_b -y y --format png t.tsv
  [[ "$output" == *"style.gp"*"undefined function: nothing_like_that"* ]]
}

@test "templates of the user are used" {
  mkdir mine
  cp "$(dirname "$(command -v nk-plot)")"/../share/noken/plots/*.gp mine
  echo "set label 9 'by our own template' at graph 0.5, 0.5" >>mine/style.gp
  NOKEN_PLOTS=$PWD/mine nk-plot scatter -x a_b -y y -o p.svg t.tsv
  grep -qF 'by our own template' p.svg
}

@test "50,000 rows are drawn within 10 seconds, in less than 1 MB" {
  awk 'BEGIN { srand(1); OFS = "\t"; print "x", "y"
    for (i = 0; i < 50257; i++)
      print sqrt(-2 * log(1 - rand())) * cos(6.2832 * rand()), rand() + rand() }' >big.tsv
  SECONDS=0
  nk-plot scatter -x x -y y -o p.svg big.tsv
  [ "$SECONDS" -le 10 ]
  [ "$(wc -c <p.svg)" -lt 1000000 ]
}
