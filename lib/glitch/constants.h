/* Every constant that decides a result of lib/glitch. */
#ifndef GLITCH_CONSTANTS_H
#define GLITCH_CONSTANTS_H

/* ---- The ball (ball.c) and the score (score.c) ---- */

/* How much one standard deviation along the way counts beside the distance. */
#ifndef NKI_WAY_WEIGHT
#define NKI_WAY_WEIGHT 3.0
#endif

/* The most that the way counts far from the ball, where ordinary rows nearly coincide; and the
 * least weight of an output matrix in which they do not stand out. */
#ifndef NKI_MOST_LEAD
#define NKI_MOST_LEAD 20.0
#endif
#ifndef NKI_LEAST_WEIGHT
#define NKI_LEAST_WEIGHT 1e-6
#endif

/* Normal quantile 0.99: rows within it of the known unused rows' distance are members. */
#ifndef NKI_MEMBER_Z
#define NKI_MEMBER_Z 2.3263479
#endif

/* The least square of the ball's radius, in units of the mean of all rows' squared distances:
 * unused rows may be equal. Half the digits of a double. */
#ifndef NKI_LEAST_SQUARE
#define NKI_LEAST_SQUARE 1e-10
#endif

/* Ordinary rows that show where the rest lies; with fewer, all ranked rows stand for them. */
#ifndef NKI_FEWEST_ORDINARY
#define NKI_FEWEST_ORDINARY 20
#endif

/* The known unused rows mark no ball where they spread more than this beside the ordinary rows. */
#ifndef NKI_OVERLAP
#define NKI_OVERLAP 0.5
#endif

/* ---- The null distribution (null.c) ---- */

/* Windows between the ball's median and the ordinary rows' in which rows are counted. */
#ifndef NKI_WINDOWS
#define NKI_WINDOWS 10
#endif

/* Rows outside the ball that show how their density falls towards it: a share of them all, and a
 * number. */
#ifndef NKI_TAIL_SHARE
#define NKI_TAIL_SHARE 0.1
#endif
#ifndef NKI_TAIL_FEWEST
#define NKI_TAIL_FEWEST 50
#endif

/* Ordinary rows expected in the ball, at least: a tail that was fitted to some rows is not believed
 * when it says less than a hundredth of one. */
#ifndef NKI_FEWEST_INSIDE
#define NKI_FEWEST_INSIDE 0.01
#endif

/* ---- Which rows are known to be unused (roles.c) ---- */

#ifndef NKI_FEWEST_UNUSED
#define NKI_FEWEST_UNUSED 3 /* rows that can show a place and a spread */
#endif
#ifndef NKI_MOST_UNUSED
#define NKI_MOST_UNUSED 512 /* candidates compared with each other: n^2 distances */
#endif
#ifndef NKI_EXTREMES
#define NKI_EXTREMES 128 /* rows from each end when nothing is known */
#endif

/* Rows of a group lie within this times the distance that is usual in it, or within NEAR times a
 * typical row's distance. Without hints a wider net: there the tightest rows of a ball stand for
 * all of it. */
#ifndef NKI_SAME_GROUP
#define NKI_SAME_GROUP 1.5
#endif
#ifndef NKI_WIDE_GROUP
#define NKI_WIDE_GROUP 2.0
#endif
#ifndef NKI_NEAR
#define NKI_NEAR 0.05
#endif

/* ---- Columns (columns.c) ---- */

#ifndef NKI_PEERS
#define NKI_PEERS 250 /* tokens of neighbouring merge rank, on each side */
#endif

#endif
