# The look of all pictures. nk-plot sets variables, then loads this file and the one of the
# picture's kind. Point is the pointsize of a radius of 1/96 inch, Line the linewidth of 1/96 inch.
# Left, Right, Bottom, Top and the variables *_x and *_y are fractions of the picture. Text is 1 on
# a text terminal.

# ---- Colours: distinguishable with any colour vision (after Okabe and Ito) ----
Ink   = '#222222'  # titles and labels of rows
Quiet = '#666666'  # ticks, labels of axes
Faint = '#e9e9e9'  # grid
Edge  = '#b5b5b5'  # axes
Mark  = '#d1410c'  # marked rows
set linetype 1 lc rgb '#2b6ca3'
set linetype 2 lc rgb '#e08e0b'
set linetype 3 lc rgb '#1a936f'
set linetype 4 lc rgb '#b8548f'
set linetype 5 lc rgb '#6fb1d9'
set linetype 6 lc rgb '#8a5a2b'
set linetype 7 lc rgb '#7a7f1d'
set linetype 8 lc rgb '#8c8c8c'
Neutral = 0x444444 # ordinary rows, which are of no group
array Colour[8] = [0x2b6ca3, 0xe08e0b, 0x1a936f, 0xb8548f, 0x6fb1d9, 0x8a5a2b, 0x7a7f1d, 0x8c8c8c]
colour(i) = Colour[(int(i) - 1) % 8 + 1]
# 0xAARRGGBB of group i, opacity from 0 (transparent) to 1
faded(i, opacity) = colour(i) + (int(255 * (1 - opacity)) << 24)
# The character of group i on a text terminal, where lines are drawn with it too.
sign(i) = i < 0 ? ' ' : i == 0 ? 'O' : substr('*#$%@&=*', (int(i) - 1) % 8 + 1, (int(i) - 1) % 8 + 1)

# ---- The frame ----
set lmargin at screen Left
set rmargin at screen Right
set bmargin at screen Bottom
set tmargin at screen Top
set xrange [X_lo:X_hi] noextend
set yrange [Y_lo:Y_hi] noextend
if (X_log) { set logscale x }
if (Y_log) { set logscale y }
unset key
unset colorbox
unset mxtics
unset mytics
set xtics ()
set ytics ()
do for [i=1:X_tick_at_n] { set xtics add (X_tick_text[i] X_tick_at[i]) }
do for [i=1:Y_tick_at_n] { set ytics add (Y_tick_text[i] Y_tick_at[i]) }
if (Text) {
  set border 3
  set xtics scale 0.5 nomirror
  set ytics scale 0.5 nomirror
} else {
  set border 3 lw Line*1 lc rgb Edge
  set xtics scale 0.4 nomirror out tc rgb Quiet font Font_tick
  set ytics scale 0.4 nomirror out tc rgb Quiet font Font_tick
  set grid xtics ytics back lt 1 lw Line*0.8 lc rgb Faint
}

# ---- Labels of axes, title, legend ----
set label 1 Y_name at screen Edge_x, Name_y left tc rgb Quiet font Font_label
set label 2 X_name at screen (Left + Right)/2, Below_y center tc rgb Quiet font Font_label
set label 3 Title at screen Edge_x, Title_y left tc rgb Ink font Family.':Bold'.Font_title
do for [i=1:Legend_n] {
  if (Text) {
    set label 100+i sign(Legend_style[i]).' '.Legend_text[i] at screen Legend_x[i], Legend_y[i] left
  } else {
    if (Legend_style[i] == 0) {
      set label 100+i Legend_text[i] at screen Legend_x[i], Legend_y[i] left \
        offset screen Swatch, 0 tc rgb Ink font Font_label point pt 7 ps Point*5 lc rgb Mark
    } else {
      set label 100+i Legend_text[i] at screen Legend_x[i], Legend_y[i] left \
        offset screen Swatch, 0 tc rgb Ink font Font_label point pt 7 ps Point*5 lc rgb colour(Legend_style[i])
    }
  }
}

# ---- Cuts ----
do for [i=1:Cut_upright_n] {
  set arrow 100+i from first Cut_upright[i], graph 0 to first Cut_upright[i], graph 1 \
    nohead front lw Line*1.4 lc rgb Ink dt (6,4)
}
do for [i=1:Cut_level_n] {
  set arrow 200+i from graph 0, first Cut_level[i] to graph 1, first Cut_level[i] \
    nohead front lw Line*1.4 lc rgb Ink dt (6,4)
}
do for [i=1:Cut_n] {
  if (Cut_side[i] > 0) {
    set label 300+i Cut_text[i] at screen Cut_x[i], Cut_y[i] left front tc rgb Ink font Font_label
  } else {
    set label 300+i Cut_text[i] at screen Cut_x[i], Cut_y[i] right front tc rgb Ink font Font_label
  }
}

# ---- Labelled rows: a translucent box behind each text keeps it readable over points ----
set style textbox 1 opaque noborder fillcolor rgb '#50ffffff' margins 0.3, 0.2
do for [i=1:Label_n] {
  if (Label_side[i] > 0) {
    set label 1000+i Label_text[i] at screen Label_x[i], Label_y[i] left front tc rgb Ink font Font_label
  } else {
    set label 1000+i Label_text[i] at screen Label_x[i], Label_y[i] right front tc rgb Ink font Font_label
  }
  if (Veil) { set label 1000+i boxed bs 1 }
}
if (Label_n > 0 && !Text) {
  do for [i=1:|$Leaders|] {
    set arrow 1000+i from screen word($Leaders[i], 1)+0, screen word($Leaders[i], 2)+0 \
      to screen word($Leaders[i], 3)+0, screen word($Leaders[i], 4)+0 \
      nohead front lw Line*0.7 lc rgb '#8a8a8a'
  }
}

# ---- Colour scale ----
if (Scale) {
  set cbrange [0:1]
  set colorbox vertical user origin Scale_x, Bottom size Scale_width, 0.98*(Top - Bottom) noborder
  set cbtics () scale 0 tc rgb Quiet font Font_tick
  do for [i=1:Scale_tick_at_n] { set cbtics add (Scale_tick_text[i] Scale_tick_at[i]) }
  set label 4 Scale_name at screen Scale_x, Name_y left tc rgb Quiet font Font_label
}
