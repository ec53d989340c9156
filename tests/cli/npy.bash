# npy COLUMNS VALUE...: a .npy of float32 rows on standard output.
npy() {
  perl -e 'my $d = shift; my $n = @ARGV / $d;
    my $h = "{\x27descr\x27: \x27<f4\x27, \x27fortran_order\x27: False, \x27shape\x27: ($n, $d), }";
    $h .= " " x (63 - (10 + length $h) % 64) . "\n";
    print "\x93NUMPY\x01\x00", pack("v", length $h), $h, pack("f<*", @ARGV);' -- "$@"
}

# normal_npy ROWS COLUMNS SEED: rows of nearly normal numbers (sums of twelve uniform ones).
normal_npy() {
  npy "$2" $(perl -e 'srand(shift); for (1..shift) { my $s = -6; $s += rand for 1..12;
    print "$s\n" }' -- "$3" $(($1 * $2)))
}
