# The page that tools/survey's awk programs make of a survey's folder. The browser's tests need
# Chromium, tidy's test needs tidy; they are skipped without.
bats_require_minimum_version 1.5.0

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.."
  export REPOSITORY=$PWD
  cp -r tests/fixtures/report/. "$BATS_FILE_TMPDIR"
  cd "$BATS_FILE_TMPDIR"
  awk 'BEGIN { OFS = "\t"; print "id", "text", "x", "y", "kind"
    for (i = 0; i < 120; i++) { far = i % 4 == 0
      print i, i % 3 ? "tok<" i "&" : "\"\047" i "\\x22", far * 5 + 2 + sin(i * 1.7),
        2 + cos(i * 2.3) + far * i / 60, far ? "far & <away>" : "near" } }' >points.tsv
  nk-plot scatter -x x -y y --by kind --label 5 --size 640x420 --title 'Two clouds' -o scatter.svg points.tsv
  nk-plot histogram -x x --by kind --size 640x420 --title 'Two "kinds" & more' -o histogram.svg points.tsv
  nk-plot curve -x x -y y --by kind --bins 5 --size 640x420 -o curve.svg points.tsv
  nk-plot heatmap -x x -y y -z id --bins 6 --size 640x420 -o heatmap.svg points.tsv
  steps
  report awk >report.html
}

# Steps as a survey leaves them.
steps() {
  mkdir steps
  cat >steps/rank.sh <<'END'
# Rank the vocabulary
nk-glitch "$model" --fdr 0.05 -o candidates.tsv
nk-glitch "$model" -o ranking.tsv
END
  cat >steps/verify.sh <<'END'
# Ask the model to repeat the listed tokens & others
nk-verify "$model" < candidates.tsv |
  awk -F'\t' '$3 < 0.5 && $1 != "<b>"' > glitch.tsv
END
  cat >steps/unused.sh <<'END'
# A step that no claim is from
true
END
  { # a line that is wider than any screen
    echo '# Run nokens'
    printf 'nk-sample in.safetensors -d isotropic,covariance --times 1,2,4,8%0250d -o nokens.safetensors\n' 0
  } >steps/run.sh
}

setup() {
  cp -r "$BATS_FILE_TMPDIR/." "$BATS_TEST_TMPDIR"
  cd "$BATS_TEST_TMPDIR"
}

# report AWK [OPTION]...: the page of the working folder
report() {
  local parts=$REPOSITORY/tools/survey
  LC_ALL=C "$@" -f "$parts/text.awk" -f "$parts/picture.awk" \
    -f "$parts/beside.awk" -f "$parts/report.awk" \
    "$parts/report.css" "$parts/report.js" claims.tsv report.txt
}

spaces() { sed 's/\xc2\xa0/ /g'; } # those that do not break lines

# estimates: "value low high unit" a line, as the report's sentences have them
estimates() {
  LC_ALL=C awk -F '\t' -f "$REPOSITORY/tools/survey/text.awk" -f <(
    echo '{ print estimate($1, $2, $3, $4) }') | spaces
}

browser() {
  local status=0
  "$REPOSITORY/tests/runners/browser.sh" "$@" >seen || status=$?
  [ $status -ne 77 ] || skip "$(cat seen)"
  [ $status -eq 0 ]
  grep -qx 'done' seen
}

@test "mawk, gawk and busybox make the same bytes" {
  local made=0
  for awk in mawk 'gawk --posix' 'busybox awk'; do
    command -v ${awk%% *} >/dev/null || continue
    report $awk >other.html
    cmp report.html other.html
    made=$((made + 1))
  done
  [ $made -ge 1 ]
  [ $made -eq 3 ] || skip "identical by $made of mawk, gawk and busybox; the others are not installed"
}

@test "a claim has its sentence, n, interval and command" {
  tr '\n' ' ' <report.html | spaces >line
  grep -qF '<p>The model fails to repeat <b>37% [31, 43]</b> of the listed tokens.</p> <p class="badge"><i>n</i> = 264 · 95% Wilson · <a class="command" href="#step-2">command 2</a></p>' line
  grep -qF 'repeat <b>0.4% [0.1, 1.2]</b> of ordinary' line
  grep -qF '<i>n</i> = 1,000 · 1 cluster · 95% Wilson' line
  grep -qF 'such as <code>&quot;&lt;script&gt;</code> the entropy is <b>6.87 [6.79, 6.92] nats</b> higher.' line
  grep -qF '<i>n</i> = 800 · 50 id, 16 prompt · 95% bootstrap' line
  grep -qF 'distance of <b>at least 12.2 standard deviations</b> along' line
  grep -qF 'Flagged were <b>0% [0, 3.6]</b> of the nokens.' line
  grep -qF 'No length is known: <b>–</b>.</p> <p class="badge"><a' line
  grep -qF '<i>n</i> = 12,345 ·' line
}

@test "estimates have the digits that their intervals allow" {
  while IFS='|' read -r value low high unit expected; do
    shown=$(printf '%s\t%s\t%s\t%s\n' "$value" "$low" "$high" "$unit" | estimates)
    echo "$value|$low|$high|$unit: $shown, expected $expected"
    [ "$shown" = "$expected" ]
  done <<'END'
0.3712|0.3149|0.4306|share|37% [31, 43]
0.0041|0.00109|0.0119|share|0.4% [0.1, 1.2]
0.0004|0.0002|0.0007|share|0.04% [0.02, 0.07]
0.002|0|0.06|share|0.2% [0, 6.0]
0.998|0.94|1|share|99.8% [94.0, 100]
1|0.94|1|share|100% [94, 100]
0|0|0|share|0% [0, 0]
0.5|||share|50%
-0.015625|-0.275|0.235|points|−2 [−28, 24] percentage points
inf|5.3|inf|spreads|at least 5.30 spreads
0.0123|||share|1.2%
0.3|0.25||share|30% (at least 25%)
0.3||0.35|share|30% (at most 35%)
|0.25||share|at least 25%
||0.35|share|at most 35%
|0.25|0.35|share|25% to 35%
-|-|-|share|–
6.86802111|6.79036876|6.92347471|nats|6.87 [6.79, 6.92] nats
-0.0123|-0.015|0.01||−0.0123 [−0.0150, 0.0100]
1234.6|998.2|1500||1,235 [998, 1,500]
12.25|12.25|||12.2 (at least 12.2)
679|||tokens|679 tokens
1234567||||1,234,567
0.5||||0.5
4.98e-05||||4.98e−5
nan|1|2||1.00 to 2.00
0x10|||x|–
1e999||||–
END
}

@test "texts of strangers are texts" {
  iconv -f UTF-8 -t UTF-8 report.html >/dev/null
  [ "$(grep -c '<script' report.html)" -eq 1 ]
  run -1 grep -n 'onmouseover=alert(1) "' report.html
  grep -qF '<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>' report.html
  grep -qF '<td>&quot; onmouseover=alert(1) &quot;</td>' report.html
  grep -qF '<td>&amp;amp; &amp; &lt;b&gt;</td>' report.html
  grep -qF '<td>\xFF\n\x5C</td>' report.html
  grep -qF '<td>raw \xFF\xC0 bytes</td>' report.html
  grep -qF '<td>é\x01\x7F\xC2\x85</td>' report.html
  grep -qF '<i class="space">␣</i>日本語 🙂<i class="space">␣</i></td>' report.html
  grep -qF '<title>Glitch tokens and nokens of &lt;b&gt;tiny&lt;/b&gt; &amp; others</title>' report.html
  grep -qF 'aria-label="Points by x and y: two clouds, the &quot;smaller&quot; one at the right &amp; marked."' report.html
  # A picture's texts too.
  grep -qF '<text>far &amp; &lt;away&gt;</text>' report.html
}

@test "every name in the page is there once, and every link leads to one" {
  grep -oE ' (id|href)="[^"]*"|url\([^)]*\)' report.html | sed -E 's/^ //; s/url\((.*)\)/href="\1"/' >names
  grep '^id' names | sort | uniq -d >twice
  [ ! -s twice ]
  sed -n 's/^href="#\(.*\)"/id="\1"/p' names | sort -u >led
  [ -z "$(grep '^id' names | sort | comm -13 - led)" ]
  [ -z "$(grep '^href="[^#]' names)" ]
  [ "$(grep -c '^id="p4-' names)" -gt 5 ]
}

@test "steps are listed in the order of the study, also those without a claim" {
  grep -oE '<div class="step" id="step-[0-9]"><h3>.*|<h3><span>.*' report.html >steps.seen
  diff steps.seen - <<'END'
<h3><span>1</span> Rank the vocabulary</h3>
<h3><span>2</span> Ask the model to repeat the listed tokens &amp; others</h3>
<h3><span>3</span> A step that no claim is from</h3>
<h3><span>4</span> Run nokens</h3>
END
  grep -qF "  awk -F'\\t' '\$3 &lt; 0.5 &amp;&amp; \$1 != &quot;&lt;b&gt;&quot;' &gt; glitch.tsv" report.html
}

@test "a table says how many rows it leaves out, and keeps the numbers that it shortens" {
  grep -qF '<code>tokens.tsv</code>, the first 6 of 8 rows · ' report.html
  grep -qF '<code>hostile.tsv</code> · ' report.html
  run -1 grep -n 'left out<' report.html
  grep -qF '<td class="n" data-v="0.000497607878">0.000498</td>' report.html
  grep -qF '<td class="n" data-v="-0.25">−0.25</td>' report.html
  grep -qF '<td class="n" data-v="12345.678">12,346</td>' report.html
  grep -qF '<td class="n">1000</td>' report.html
}

@test "counts have separators and ids none, and an infinite cell is a number" {
  printf 'id\tn\tonset\n12345\t12345\tinf\n7\t8\t0.5\n9\t1\t\n' >counts.tsv
  printf 'fact\tWeights\t1874688\nfact\tTokens\t8192\nfact\tModel\t8192\n' >head
  printf 'table\tcounts.tsv\trank\tCounts.\t\t\n' | cat head report.txt - >new.txt
  mv new.txt report.txt
  report awk >report.html
  grep -qF '<dt>Weights</dt><dd>1.87 million</dd>' report.html
  grep -qF '<dt>Tokens</dt><dd>8,192</dd>' report.html
  grep -qF '<dt>Model</dt><dd>8192</dd>' report.html
  grep -qF '<tr><td class="n">12345</td><td class="n" data-v="12345">12,345</td><td class="n" data-v="Infinity">∞</td></tr>' report.html
  grep -qF '<td class="n">1</td><td class="n">–</td></tr>' report.html
}

@test "a table of more than 24 rows opens by a click, and is open on paper" {
  seq 24 | sed '1i x' >short.tsv
  seq 25 | sed '1i x' >long.tsv
  printf 'table\tshort.tsv\trank\tShort.\t\t\ntable\tlong.tsv\trank\tLong.\t\t\n' >>report.txt
  report awk >report.html
  [ "$(grep -c '<details>' report.html)" -eq 1 ]
  grep -qF '<details><summary>25 rows</summary>' report.html
  ! command -v tidy >/dev/null || tidy -e -q report.html
  grep -A99 '@media print' "$REPOSITORY/tools/survey/report.css" | grep -q 'details-content.*visible'
}

@test "words are explained in one list" {
  printf 'section\twords\tWords\nterm\tnoken\tA vector that is `no token`.\nterm\tnat\tA unit.\ntext\tEnd.\n' >>report.txt
  report awk >report.html
  tr -d '\n' <report.html | grep -qF '<dl class="terms"><dt>noken</dt><dd>A vector that is <code>no token</code>.</dd><dt>nat</dt><dd>A unit.</dd></dl><p>End.</p>'
}

@test "a picture with anything but nk-plot's elements is refused" {
  refuse() { # refuse WHAT SED
    sed "$2" "$BATS_FILE_TMPDIR/scatter.svg" >scatter.svg
    run ! cmp -s scatter.svg "$BATS_FILE_TMPDIR/scatter.svg"
    run -1 --separate-stderr report awk
    echo "$1: $stderr"
    [[ "$stderr" == "report: scatter.svg: "*"$1"* ]]
    [ "${#stderr_lines[@]}" -eq 1 ]
  }
  refuse "element 'script'" 's|</svg>|<script>alert(1)</script></svg>|'
  refuse "element 'foreignObject'" 's|</svg>|<foreignObject/></svg>|'
  refuse "element 'a'" 's|</svg>|<a><rect/></a></svg>|'
  refuse "element 'image'" 's|</svg>|<image href="http://127.0.0.1/"/></svg>|'
  refuse "attribute 'onload'" 's|viewBox|onload="alert(1)" viewBox|'
  refuse "attribute 'onclick'" "s|</svg>|<rect onclick='alert(1)'/></svg>|"
  refuse "address" "s|href='#gpPt5' id|href='http://127.0.0.1/' id|"
  refuse "address" "s|href='#gpPt5' id|href='javascript:alert(1)' id|"
  refuse "address in 'fill'" 's|fill="none"|fill="url(http:x)"|'
  refuse "value of 'fill'" 's|fill="none"|fill="\&quot;"|'
  refuse "malformed" 's|</svg>|</g></svg>|'
  refuse "malformed" 's|</svg>||; s|<path |<path x=y |'
  refuse "not an SVG" 's|</svg>||'
  refuse "not an SVG" 's|</svg>|</svg><rect/>|'
  refuse "not an SVG" 's|^<svg|<g></g><svg|'
  refuse "not an SVG" 's|.*||'
}

@test "what the report names and the folder lacks is an error" {
  refuse() { # refuse MESSAGE LINE
    printf '%b\n' "$2" | cat "$BATS_FILE_TMPDIR/report.txt" - >report.txt
    run -1 --separate-stderr report awk
    echo "$stderr"
    [ "$stderr" = "report: $1" ]
  }
  refuse "report.txt: line 27: unknown directive 'pitcure'" 'pitcure\tx'
  refuse "claim 'x' is not in claims.tsv" 'claim\tx'
  refuse "none.svg: cannot be read" 'picture\tnone.svg\trun\ta\tb'
  refuse "none.tsv: cannot be read" 'table\tnone.tsv\trun\ta\tid\t3'
  refuse "tokens.tsv: no column 'd'" 'table\ttokens.tsv\trun\ta\tid,d=D\t3'
  refuse "step 'other': report.txt does not list it" 'table\ttokens.tsv\tother\ta\tid\t3'
  refuse "steps/other.sh: cannot be read" 'step\tother'
  refuse "section 'glitch': not a name, or twice" 'section\tglitch\tAgain?'
  refuse "section 'a\"b': not a name, or twice" 'section\ta"b\tAgain?'
  refuse "none/claims.tsv: cannot be read, or empty" 'comparison\tA=none'
}

@test "several surveys stand side by side" {
  mkdir a b both
  cp claims.tsv report.txt *.svg a
  cp report.txt *.svg b
  awk -F '\t' -v OFS='\t' '$1 == "repeat" { $4 = 0.5; $5 = 0.44; $6 = 0.56 } $1 != "none"
    END { print "extra", "glitch", "One has {} more.", 12, "", "", "", 9, "", "", "", "run" }' \
    claims.tsv | sed 's/^\(radius\t.*\)random/\1other/; s/\t0.95\t48/\t0.99375\t48/' >b/claims.tsv
  cd both
  printf 'title\tTwo models\ncomparison\tgpt2 & tiny=../a\tllama=../b\n' >report.txt
  : >claims.tsv
  report awk >report.html
  tr '\n' ' ' <report.html | spaces >line
  grep -qF '<th scope="col">gpt2 &amp; tiny</th><th scope="col">llama</th>' line
  grep -qF 'fails to repeat … of the listed tokens. <span class="from">95% Wilson</span></th><td><b>37% [31, 43]</b><br><span class="from"><i>n</i> = 264</span></td><td><b>50% [44, 56]</b>' line
  grep -qE 'Flagged were … of the nokens.*</td><td>–</td></tr> <tr><th scope="row">No length' line
  grep -qF 'at a distance of … along random directions. <' line
  grep -qF '<td>The answer changes at a distance of … along other directions.<br><b>at least 12.2' line
  grep -qF 'One has … more.</th><td>–</td><td><b>12</b>' line
  [ "$(grep -c '<svg role="img"' report.html)" -eq 8 ]
  ! command -v tidy >/dev/null || tidy -e -q report.html
  browser report.html 390 light
  grep -qx 'overflow	0' seen
  run -1 grep -E '^(wide|fetched|console)' seen
}

@test "tidy finds nothing in the page" {
  command -v tidy >/dev/null || skip 'tidy is not installed'
  run -0 tidy -e -q report.html
  [ "$output" = '' ]
}

@test "the page's policy names the digest of its script, and the page loads nothing" {
  script=$(sed -n '/^<script>$/,/^<\/script>$/p' report.html | sed '1d; $d')
  digest=$(printf '\n%s\n' "$script" | openssl dgst -sha256 -binary | base64)
  echo "the digest of report.js is $digest"
  grep -qF "script-src 'sha256-$digest'" report.html
  grep -qF "content=\"default-src 'none';" report.html
  run -1 grep -nE '<(img|link|iframe|object|embed|base|form)|@import|url\((https?|//|data)|[a-z]src=| style=' report.html
}

# The contrast of text, by WCAG 2.2: (L1 + 0.05) / (L2 + 0.05), of relative luminances L.
@test "texts have a contrast of 4.5 in the light and in the dark" {
  awk '
    function part(c, i) {
      c = (index("0123456789abcdef", substr(c, 2 * i, 1)) - 1) * 16 + index("0123456789abcdef", substr(c, 2 * i + 1, 1)) - 1
      c /= 255
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ^ 2.4
    }
    function luminance(c) { return 0.2126 * part(c, 1) + 0.7152 * part(c, 2) + 0.0722 * part(c, 3) }
    function contrast(a, b) {
      a = luminance(a) + 0.05; b = luminance(b) + 0.05
      return a > b ? a / b : b / a
    }
    /^:root/ { scheme = "light" }
    /prefers-color-scheme: dark/ { scheme = "dark" }
    { while (match($0, /--[a-z]+: #[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]/)) {
        split(substr($0, RSTART + 2, RLENGTH - 2), pair, ": ")
        colour[scheme, pair[1]] = pair[2]; n++
        $0 = substr($0, RSTART + RLENGTH) } }
    END {
      if (n != 14) { print n " colours, expected 7 of each scheme"; exit 1 }
      print contrast("#000000", "#ffffff"), contrast("#777777", "#ffffff") # 21 and 4.48 by WCAG
      if (contrast("#000000", "#ffffff") != 21 || sprintf("%.2f", contrast("#777777", "#ffffff")) != 4.48) exit 1
      m = split("light dark", schemes, " "); k = split("ink quiet accent warn", texts, " "); split("page panel", grounds, " ")
      for (s = 1; s <= m; s++) for (t = 1; t <= k; t++) for (g = 1; g <= 2; g++) {
        c = contrast(colour[schemes[s], texts[t]], colour[schemes[s], grounds[g]])
        printf "%s: %s on %s %.2f\n", schemes[s], texts[t], grounds[g], c
        if (c < 4.5) bad = 1 }
      exit bad }' "$REPOSITORY/tools/survey/report.css"
}

@test "in a browser nothing is wider than the page, and nothing is fetched" {
  for width in 1280 390; do
    for scheme in light dark; do
      browser report.html $width $scheme
      cat seen
      grep -qx 'overflow	0' seen
      run -1 grep -E '^(wide|fetched|console)' seen
    done
  done
  grep -qx 'background	rgb(20, 22, 26)' seen # --page of the dark scheme
}

@test "the browser's test sees what is fetched, too wide or refused" {
  sed 's|<main>|<main><img src="http://127.0.0.1:9/x.png" alt=""><script>document.title = 1</script><p style="width: 700px">wide</p>|' \
    report.html >changed.html
  browser changed.html 390 light
  grep -q '^overflow	[1-9]' seen
  grep -q '^wide	P' seen
  grep -qx 'fetched	http://127.0.0.1:9/x.png' seen
  grep -q '^console.*Content Security Policy.*img-src' seen
  grep -q '^console.*inline script.*Content Security Policy' seen
}

@test "a click on a header sorts numbers as numbers, equal rows as before, cells without a value last" {
  browser report.html 1280 light
  sorted() { awk -F '\t' -v t="$1" -v c="$2" -v order="$3" '$1 == "sorted" && $2 == t && $3 == c && $4 == order { print $5 }' seen; }
  sed 1d tokens.tsv | head -n 6 | cut -f 1,2,3,4,5 >rows # the page shows these, by id when it begins
  sort -n rows >by-id
  expect() { # expect COLUMN ORDER SORT-OPTIONS, cells without a value last
    local key=$1
    { awk -F '\t' -v k="$key" '$k != ""' by-id | sort -s -t $'\t' "${@:3}"
      awk -F '\t' -v k="$key" '$k == ""' by-id; } | cut -f 1 | paste -sd ' '
  }
  for column in 1 3 4; do
    [ "$(sorted 0 $((column - 1)) ascending)" = "$(expect $column up -k $column,${column}g)" ]
    [ "$(sorted 0 $((column - 1)) descending)" = "$(expect $column down -k $column,${column}gr)" ]
  done
  [ "$(sorted 0 4 ascending)" = "$(LC_ALL=C expect 5 up -k 5,5)" ]
  [ "$(sorted 0 4 descending)" = "$(LC_ALL=C expect 5 down -k 5,5r)" ]
  # 1e-7, 12345.678, a dash.
  [ "$(sorted 1 2 ascending)" = '2 6 1 5 7 4 3' ]
  [ "$(sorted 1 2 descending)" = '4 7 5 1 6 2 3' ]
}
