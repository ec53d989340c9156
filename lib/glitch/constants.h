/* Every constant that decides a result of lib/glitch: its value, the reason, and what changes when
 * it is halved or doubled.
 *
 * Measured on 13 simulated models (tests/unit/test_worlds.c, NOKEN_SEEDS=1 and NOKEN_WORLDS=0,3,4,
 * 6,16,18,24,28,40,43,45,52,58) and on the two that ship. "gap": how far the score's average
 * precision is below the best indicator's, in the mean -0.0031 as it is, and at worst 0.0022.
 * "found": the mean share of never-seen tokens that are reported at 0.05, 0.75 as it is. The
 * realized rate of false discoveries stayed below the nominal one throughout. */
#ifndef GLITCH_CONSTANTS_H
#define GLITCH_CONSTANTS_H

/* ---- The ball (ball.c) and the score (score.c) ---- */

/* Weight of one standard deviation along the way beside the distance: rows that were seen a few
 * times have moved some standard deviations to one side. Halved: gap -0.0017, worst 0.0011.
 * Doubled: -0.0026, worst 0.011; llama-tiny's average precision 0.9953 instead of 0.9971. */
#define NKI_WAY_WEIGHT 3.0

/* Rows as near as all but 1% of never-seen rows (a normal quantile) are members of the ball, others
 * ordinary. Halved: no change of the gap beyond 1e-5, found 0.75. Doubled: the same, found 0.83. */
#define NKI_MEMBER_Z 2.3263479

/* The least square of the ball's radius beside the mean of all rows' squares: unused rows may be
 * equal. Half the digits of a double. Halved or doubled: no change. */
#define NKI_LEAST_SQUARE 1e-10

/* The least weight of an output matrix in which no rows stand out, so that weights are defined.
 * Halved or doubled: no change. */
#define NKI_LEAST_WEIGHT 1e-6

/* With fewer ordinary rows, all ranked rows show where the rest lies and every p-value is 1. Halved
 * or doubled: no change. */
#define NKI_FEWEST_ORDINARY 20

/* The known unused rows mark no ball where the distance that 99% of its rows do not exceed is more
 * than this times the ordinary rows' spread. Where none of 13 was in the training data it is up to
 * 0.45, where 7 to 13 were 0.98 to 1.5. Halved: no change, but a dozen never-seen tokens in 512
 * dimensions are no longer reported. Doubled: no change, but of 13 wrong ones all are believed. */
#define NKI_OVERLAP 0.7

/* ---- The null distribution (null.c) ---- */

/* Windows between the medians of the ball and of the ordinary rows in which rows are counted, to
 * see where the ball ends. Halved: found 0.83. Doubled: no change but 0.05 instead of 0.04 false
 * discoveries at 0.2. */
#define NKI_WINDOWS 10

/* Rows beyond the ball that show how the density of ordinary rows falls towards it: a share of them
 * all, and a number. Share halved: found 0.67; doubled: no change. Number halved or doubled: no
 * change of what is found. */
#define NKI_TAIL_SHARE 0.1
#define NKI_TAIL_FEWEST 50

/* Ordinary rows expected in the ball, at least: a tail that was fitted to some rows is not believed
 * when it says less than a hundredth of one. Halved or doubled: no change of what is reported; the
 * smallest p-value is halved or doubled. */
#define NKI_FEWEST_INSIDE 0.01

/* ---- Which rows are known to be unused (roles.c) ---- */

/* Rows that show a place and a spread: with two, the spread is one number. 2: no change. Doubled:
 * gap 0.061 and worst 0.40, in the models in which only 3 are known. */
#define NKI_FEWEST_UNUSED 3

/* Candidates that are compared with each other: a matrix of distances of 2 MB. Halved or doubled:
 * no change. */
#define NKI_MOST_UNUSED 512

/* Rows from each end when nothing is known. Without known rows, halved: average precision on
 * llama-tiny 0.9929, no change; doubled: 0.9975; gpt2-tiny: no change. */
#define NKI_EXTREMES 128

/* Candidates of one group lie within this times the distance that is usual in it: rows of a ball of
 * many dimensions all have nearly the same distance from each other. Halved: gap 0.051, worst 0.35,
 * as true rows are left out. Doubled: no change. Without hints a wider net: there the tightest rows
 * of a ball stand for all of it; halved or doubled: no change on the models that ship. */
#define NKI_SAME_GROUP 1.5
#define NKI_WIDE_GROUP 2.0

/* Or within this part of a typical row's distance: in matrices that were rounded, a ball's rows
 * differ by their last digits. Halved or doubled: no change. */
#define NKI_NEAR 0.05

/* ---- Columns (columns.c) ---- */

/* Tokens of neighbouring merge rank, on each side, that a token's score is compared with. Average
 * precision of rank_mismatch on llama-tiny: 0.805; halved 0.799; doubled 0.808. */
#define NKI_PEERS 250

#endif
