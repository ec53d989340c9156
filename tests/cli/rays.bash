# rays LENGTH...: a TSV vector set on standard output, of rays from the states that standard input
# holds (a TSV of nk-convert): one of each length from each state, in a direction that depends on
# its number alone. Each has its origin, its middle and its end. Columns as those of nk-sample.
rays() {
  perl -e '
    my @lengths = @ARGV;
    chomp(my $head = <STDIN>);
    my @names = split /\t/, $head;
    my @values = grep { $names[$_] =~ /^v\d+$/ } 0 .. $#names;
    my @kept = grep { $names[$_] =~ /^(context|position|layer)$/ } 0 .. $#names;
    print join("\t", qw(id ray radius origin_row direction), @names[@kept], @names[@values]), "\n";
    my ($id, $ray, $state) = (0, 0, 0);
    while (<STDIN>) {
      chomp;
      my @cell = split /\t/, $_, -1;
      for my $length (@lengths) {
        my $seed = $ray;
        my ($square, @u) = (0);
        for (@values) {
          my $sum = -6;
          for (1 .. 12) {
            $seed = ($seed * 1103515245 + 12345) % 2147483648;
            $sum += $seed / 2147483648;
          }
          push @u, $sum;
          $square += $sum * $sum;
        }
        for my $radius (0, $length / 2, $length) {
          print join("\t", $id++, $ray, $radius, $state, $ray % 2, @cell[@kept],
            map { sprintf "%.9g", $cell[$values[$_]] + $radius / sqrt($square) * $u[$_] }
            0 .. $#u), "\n";
        }
        $ray++;
      }
      $state++;
    }' -- "$@"
}

# column NAME <TABLE: its cells.
column() {
  awk -F'\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { print $at[name] }'
}
