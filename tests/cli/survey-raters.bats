# Raters' judgements in a survey's report, and several surveys on one page. The folders are made by
# hand; shares, probabilities and kappa are worked out on paper.
bats_require_minimum_version 1.5.0

export LC_ALL=C

# Twelve items, three of each kind.
make_survey() { # make_survey FOLDER MODEL SEED
  mkdir -p "$1/steps"
  printf 'title\tGlitch tokens and nokens: %s\nfact\tModel\t%s\nfact\tSurvey\tquick, seed %s\n' "$2" "$2" "$3" >"$1/report.txt"
  printf 'section\tblind\tWould people agree?\nstep\tinputs\ntext\tJudge them.\nclaim\tfound\n' >>"$1/report.txt"
  printf 'key\tsection\tsentence\tvalue\tlow\thigh\tlevel\tn\tclusters\tunit\tinterval\tstep\n' >"$1/claims.tsv"
  printf 'found\tblind\tThere are {} items.\t0.25\t0.1\t0.5\t0.95\t12\t\tshare\tWilson\tinputs\n' >>"$1/claims.tsv"
  printf '# The inputs, for nk 1.0\ntrue\n' >"$1/steps/inputs.sh"
  awk -v OFS='\t' -v folder="$1" 'BEGIN { split("ordinary glitch near far", kind, " ")
    print "item", "prompt", "continuation", "rating" >(folder "/blind.tsv")
    print "item", "kind", "id", "prompt" >(folder "/key.tsv")
    for (i = 1; i <= 12; i++) {
      print i, "The \"____\", of", "\342\200\246 the; king, " i, "" >(folder "/blind.tsv")
      print i, kind[int((i + 2) / 3)], 100 + i, "of" >(folder "/key.tsv")
    } }'
}

setup() {
  cd "$BATS_TEST_TMPDIR"
  make_survey survey "$BATS_TEST_TMPDIR/tiny" 0
  # ann finds 1, 4, 5, 6, 10 and 11 odd; bob 4, 5, 7, 10, 11 and 12
  awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = ($1 ~ /^(1|4|5|6|10|11)$/) + 0 } { print }' survey/blind.tsv >ann.tsv
  awk -F '\t' 'NR > 1 { print $1, ($1 ~ /^(4|5|7|10|11|12)$/) + 0 }' survey/blind.tsv | sort -k 1,1r |
    awk 'BEGIN { printf "\357\273\277Rating;note;ITEM\r\n" }
      { printf "%s;\"a \"\"note\"\";\r\nof two lines\"; %s\r\n", $2, $1 }' >bob.csv
}

# cell KEY COLUMN: of the survey's claims.
cell() {
  awk -F '\t' -v key="$1" -v column="$2" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
    $1 == key { print $at[column] }' survey/claims.tsv
}

@test "the report gets shares, separation and their numbers from the raters' files" {
  nk-survey -q --unblind bob.csv ann.tsv -o survey
  [ "$(cell odd_ordinary value)" = 0.166666667 ]
  [ "$(cell odd_glitch value)" = 0.833333333 ]
  [ "$(cell odd_near value)" = 0.166666667 ]
  [ "$(cell odd_far value)" = 0.833333333 ]
  [ "$(cell odd_far n)" = 6 ]
  [ "$(cell odd_far clusters)" = '3 items' ]
  # of 9 pairs: 8 in order and one tie; and as many either way
  [ "$(cell separated_glitch value)" = 0.944444444 ]
  [ "$(cell separated_near value)" = 0.5 ]
  # 8 of 12 agree; each finds half of them odd, so that chance gives 1/2
  [ "$(cell raters_agreement value)" = 0.666666667 ]
  [ "$(cell raters_kappa value)" = 0.333333333 ]
  [[ $(cell raters_kappa sentence) == *"Cohen's kappa"* ]]
  [ "$(cell found n)" = 12 ]
  grep -q 'What did raters who saw no labels say' survey/report.html
  grep -q '2 raters judged 12 of the 12 continuations in .*24 judgements' survey/report.html
}

@test "all formats of a spreadsheet give the same bytes, in any order and twice" {
  nk-survey -q --unblind bob.csv ann.tsv -o survey
  cp -r survey first
  nk-survey -q --unblind ann.tsv bob.csv -o survey
  diff -r first survey
  mkdir other
  awk -F '\t' '{ gsub(/"/, "\"\"", $2); printf "%s,\"%s\",\"%s\",\"%s\"\r\n", $1, $2, $3, (NR > 1 ? $4 ".0" : $4) }' ann.tsv \
    >other/ann.csv
  tr -d '\r' <bob.csv >other/bob.txt
  nk-survey -q --unblind other/* -o survey
  diff -r first survey
}

@test "what raters say stands before the list of words, once" {
  printf 'section\twords\tWords\nterm\todd\tNot normal.\n' >>survey/report.txt
  nk-survey -q --unblind ann.tsv -o survey
  nk-survey -q --unblind ann.tsv bob.csv -o survey
  [ "$(awk -F '\t' '$1 == "section" { print $2 }' survey/report.txt | paste -s -d ' ')" = 'blind raters words' ]
  [ "$(tail -n 1 survey/report.txt)" = $'term\todd\tNot normal.' ]
}

@test "an item that is not judged is left out, and a rater alone has no clusters" {
  sed -i '2s/.$//; $s/.$//' ann.tsv
  nk-survey -q --unblind ann.tsv -o survey
  [ "$(cell odd_ordinary n) $(cell odd_ordinary value)" = '2 0' ]
  [ "$(cell odd_far n) $(cell odd_far value)" = '2 1' ]
  grep -q '1 rater judged 10 of the 12' survey/report.html
  grep -q 'There is one rater' survey/report.html
}

@test "ratings that are not of the scale, of no item or given twice are errors of a line" {
  bad() { # bad TEXT MESSAGE
    printf '%b' "$1" >bad.csv
    run -1 nk-survey -q --unblind ann.tsv bad.csv -o survey
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == "nk-survey: "*"bad.csv: line $2"* ]]
    [ ! -e survey/unblind.txt ]
  }
  bad 'item,rating\n1,2\n' "2: rating '2' of item 1: 1 (odd), 0 (normal) or nothing is needed"
  bad 'item,rating\n1,yes\n' "2: rating 'yes' of item 1"
  bad 'item,rating\n1,-1\n' "2: rating '-1' of item 1"
  bad 'item,rating\n1,0\n13,1\n' "3: item '13' is not in blind.tsv"
  bad 'item,rating\n,1\n' "2: item '' is not in blind.tsv"
  bad 'item,rating\n1,1\n2,0\n1,1\n' "4: item 1 again, after line 2"
  bad 'item,rate\n1,1\n' "1: no columns item and rating"
  bad 'item,rating\n1,"1\n2,0\n' "2: a quotation begins that does not end"
  bad 'item,rating\n1,\e[31m\n' "2: rating '?[31m' of item 1"
}

@test "files without ratings and two files of one rater are refused" {
  printf 'item\trating\n1\t\n' >none.tsv
  run -1 nk-survey -q --unblind none.tsv -o survey
  [ "$output" = 'nk-survey: none: no rating is filled in' ]
  mkdir other
  cp ann.tsv other
  run -1 nk-survey -q --unblind ann.tsv other/ann.tsv -o survey
  [[ $output == *"other/ann.tsv: line 1: a second file of the rater 'ann'"* ]]
  run -1 nk-survey -q --unblind missing.tsv -o survey
  [ "$output" = 'nk-survey: missing.tsv: cannot be read' ]
  run -1 nk-survey -q --unblind ann.tsv -o nowhere
  [ "$output" = 'nk-survey: nowhere: the folder holds no survey' ]
  [ ! -e nowhere ]
  run -2 nk-survey -q --unblind -o survey
}

@test "the report says when the survey has other continuations than were judged" {
  nk-survey -q --unblind ann.tsv bob.csv -o survey
  run ! grep -q 'has other continuations now' survey/report.html
  before=$(cell odd_far value)
  sed -i '$s/king/queen/' survey/blind.tsv
  (
    . "$(dirname "$(command -v nk-survey)")/../share/noken/survey/unblind.sh"
    cd survey && add_raters
  )
  grep -q 'has other continuations now' survey/report.txt
  [ "$(cell odd_far value)" = "$before" ]
  [ "$(grep -c '^section.raters' survey/report.txt)" = 1 ]
}

@test "surveys stand side by side on one page, under the names of their models" {
  make_survey second "$BATS_TEST_TMPDIR/large" 0
  sed -i 's/0.25/0.75/' second/claims.tsv
  nk-survey -q --compare survey second/ -o page.html
  [ "$(grep -c '<h1>' page.html)" = 1 ]
  grep -q '>tiny<' page.html
  grep -q '>large<' page.html
  grep -q '25%' page.html
  grep -q '75%' page.html
  run ! grep -q 'other sizes, seeds' page.html
  run ! grep -q 'Commands' page.html
}

@test "a page of surveys of other settings says so, and tells two of one model apart by folder" {
  make_survey second "$BATS_TEST_TMPDIR/tiny" 1
  nk-survey -q --compare survey second -o page.html
  grep -q 'other sizes, seeds' page.html
  grep -q '>survey<' page.html
  grep -q '>second<' page.html
}

@test "folders without a survey are refused by --compare" {
  mkdir none
  run -1 nk-survey -q --compare survey none -o page.html
  [ "$output" = 'nk-survey: none: the folder holds no survey, or one that has not ended' ]
  run -2 nk-survey -q --compare survey -o page.html
  run -1 nk-survey -q --compare survey survey/ -o page.html
  [ "$output" = 'nk-survey: a folder is named twice' ]
  run -1 nk-survey -q --compare survey none -o none
  [ ! -e page.html ]
}

@test "each item to judge has its text, and readers with any rule of quoting read all" {
  printf 'prompt\ttext\np\tSay "{}" now\nq\t={} "is"\n' >prompts.tsv
  for kind in ordinary far; do
    awk -v OFS='\t' -v kind=$kind 'BEGIN { print "id", "prompt", "continuation"
      for (i = 0; i < 5; i++) {
        print i, "p", "\\x22" kind " p" i
        print i, "q", kind "\\x5C q" i
      } }' >$kind.tsv
  done
  awk -v seed=0 -v most=4 -f "$BATS_TEST_DIRNAME/../../tools/survey/blind.awk" \
    prompts.tsv ordinary=ordinary.tsv far=far.tsv >blind.tsv
  [ "$(wc -l <blind.tsv)" = 9 ]
  # Beside each item's row of the key: the text of its prompt, and what its kind's table has there.
  run -0 awk -F '\t' -v quote="$(printf '\342\200\235')" '
    NR == FNR { key[$1] = $2 FS $3 FS $4; next }
    FNR == 1 { next }
    { split(key[$1], is, FS)
      first = is[3] == "p"
      text = first ? "Say " quote "____" quote " now" : " =____ " quote "is" quote
      said = (first ? quote : "") is[1] (first ? "" : "\\") " " is[3] is[2]
      if (NF != 4 || $2 != text || substr($3, 5) != said) print
      n++ } END { print n }' key.tsv blind.tsv
  echo "$output"
  [ "$output" = 8 ]
}
