# Shares of the variance. $Components: "number value sum", the sum in percent on the right axis;
# $Reached: "number sum" where 50, 90 and 99% are reached; Reach_*: their texts.

set y2range [0:104] noextend
if (Text) {
  set y2tics 25 scale 0.5
  set border 11
  plot $Components using 1:2 with linespoints pt 'o', \
       $Components using 1:3 axes x1y2 with lines dt 2 
} else {
  set label 1 tc rgb colour(1)
  set border 3
  set y2tics ('0%%' 0, '25%%' 25, '50%%' 50, '75%%' 75, '100%%' 100) scale 0.4 out tc rgb colour(2) font Font_tick
  set label 5 'cumulative' at screen Right + (1 - Right)*0.7, Name_y right tc rgb colour(2) font Font_label
  do for [i=1:Reach_n] {
    if (Reach_side[i] > 0) {
      set label 600+i Reach_text[i] at screen Reach_x[i], Reach_y[i] left front tc rgb Ink font Font_label
    } else {
      set label 600+i Reach_text[i] at screen Reach_x[i], Reach_y[i] right front tc rgb Ink font Font_label
    }
  }
  if (Components_n <= 60) {
    set style fill solid 1 noborder
    set boxwidth 0.72
    plot $Components using 1:2 with boxes lc rgb faded(1, 0.85), \
         $Components using 1:3 axes x1y2 with lines lw Line*2 lc rgb colour(2), \
         $Reached using 1:2 axes x1y2 with points pt 7 ps Point*4 lc rgb colour(2)
  } else {
    plot $Components using 1:2 with lines lw Line*1.2 lc rgb colour(1), \
         $Components using 1:2 with points pt 7 ps Point*2 lc rgb colour(1), \
         $Components using 1:3 axes x1y2 with lines lw Line*2 lc rgb colour(2), \
         $Reached using 1:2 axes x1y2 with points pt 7 ps Point*4 lc rgb colour(2)
  }
}
