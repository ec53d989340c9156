# Lines with bands. $Knots: "x y lo hi", one block per group. Shade: where Ramp is 1, a group's position
# on the colour scale. Bars: x are categories, intervals are bars. Ordinary: a range behind the lines.
# $Strands: "x y" of the Strands_n lines that were summarized, a block per group.
# End_*: the names of the lines, at their right ends.

# Whether both ends of an interval are known. Without one, filledcurves fills to the axis.
known(lo, hi) = lo == lo && hi == hi
set style fill solid 1 noborder
set cbrange [0:1]
set palette defined (0 '#7fcdbb', 0.5 '#2c7fb8', 1 '#15195a')
# The same scale at s in [0, 1], as 0xRRGGBB.
part(c, shift) = (c >> shift) & 255
blend(a, b, s, shift) = int(part(a, shift) + s * (part(b, shift) - part(a, shift)) + 0.5) << shift
mixed(a, b, s) = blend(a, b, s, 16) + blend(a, b, s, 8) + blend(a, b, s, 0)
shade(s) = s < 0.5 ? mixed(0x7fcdbb, 0x2c7fb8, 2 * s) : mixed(0x2c7fb8, 0x15195a, 2 * s - 1)
tone(i) = Ramp ? shade(Shade[i]) : colour(i)
clear(opacity) = int(255 * (1 - opacity)) << 24
# Few lines are seen each, many by where they lie.
Strand = Strands_n > 56 ? 3 / sqrt(Strands_n) : 0.4

do for [i=1:End_n] {
  set label 500+i End_text[i] at screen End_x[i], End_y[i] left \
    tc rgb (End_style[i] < 0 ? Neutral : colour(End_style[i])) font Font_label
}
if (Ordinary && !Text) {
  if (Ordinary_lo < Ordinary_hi) {
    set object 1 rectangle from graph 0, first Ordinary_lo to graph 1, first Ordinary_hi \
      behind fc rgb '#f2f2f2' fs solid 1 noborder
  }
  set arrow 500 from graph 0, first Ordinary_at to graph 1, first Ordinary_at \
    nohead back lw Line*1.6 lc rgb Neutral dt (2,3)
}
# Where the relative distance is that of a straight line.
if (Diagonal && !Text) { set arrow 501 from 0,0 to 1,1 nohead back lw Line*1.4 lc rgb Neutral dt (5,5) }
if (Bars) { unset grid; set grid ytics back lt 1 lw Line*0.8 lc rgb Faint }
if (Text) {
  if (Bars) {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2 with points lt i pt sign(i)
  } else {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2 with linespoints lt i pt sign(i)
  }
} else {
  if (Bars) {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2:3:4 with yerrorbars \
           pt 7 ps Point*4.5 lw Line*2 lc rgb colour(i)
  } else {
    plot for [i=1:(Strands_n > 0 ? Shade_n : 0)] $Strands index (i-1) using 1:2 \
           with lines lw Line*0.9 lc rgb tone(i) + clear(Strand), \
         for [i=1:(Band ? Shade_n : 0)] $Knots index (i-1) using (known($3, $4) ? $1 : NaN):3:4 \
           with filledcurves lc rgb tone(i) + clear(Shade_n > 4 ? 0.09 : 0.15), \
         for [i=1:(Ramp ? Shade_n : 0)] $Knots index (i-1) using 1:2:(Shade[i]) \
           with lines lw Line*2 lc palette, \
         for [i=1:(Ramp ? 0 : Shade_n)] $Knots index (i-1) using 1:2 \
           with lines lw Line*2.6 lc rgb colour(i), \
         for [i=1:(Dots ? Shade_n : 0)] $Knots index (i-1) using 1:2 \
           with points pt 7 ps Point*3 lc rgb colour(i), \
         $Outline using 1:2 with lines lw Line*1.8 lc rgb Ink
  }
}
