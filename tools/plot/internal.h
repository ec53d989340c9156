/* What the files of tools/plot share. A picture is made in the order of the parts below:
 *
 *   table -> rows (data.c, estimates.c) -> bins, quantiles, densities (summary.c) -> axes and
 *   margins (axes.c, canvas.c, layout.c) -> labels (text.c, labels.c, annotate.c) -> script
 *   (script.c) -> gnuplot -> shorter SVG (svg.c)
 *
 * Positions and lengths on the canvas are in 1/96 inch, from its lower left corner; on a text
 * terminal in characters. Functions that return int return NK_OK or a negative code, unless they
 * say otherwise. */
#ifndef PLOT_INTERNAL_H
#define PLOT_INTERNAL_H

#include <noken/base.h>
#include <stdint.h>

#include "plot/plot.h"

/* ---- data.c: from the table to numbers ---- */

struct plot_rows {
  size_t n;
  double *x, *y, *z;  /* [n]; NULL where the picture has none */
  size_t *row;        /* [n] row of the table */
  uint32_t *group;    /* [n] */
  bool *marked;       /* [n] */
  char **group_names; /* [n_groups] cells or column names */
  size_t n_groups;
  bool numeric_groups; /* every name is a number; they ascend */
  size_t n_marked;
};

enum { PLOT_X = 1, PLOT_Y = 2, PLOT_Z = 4 };

/* Takes the rows that have all numbers of `need` (PLOT_X ...): finite, positive where the axis is
 * logarithmic, inside the asked range. Warns of those left out. */
int plot_rows_collect(struct plot_rows *rows, const struct plot *plot,
                      const struct cli_frame *frame, unsigned need);
/* Replaces the groups: one for each cell of a column, numbers ascending, others in order of first
 * appearance. */
int plot_rows_group(struct plot_rows *rows, const struct cli_frame *frame, const char *column);
/* The name of a group as it is shown: numbers are rounded, as far as they stay different, in
 * `number`. */
const char *plot_rows_group_text(const struct plot_rows *rows, size_t group, char number[48]);
/* The number that is the name of a group. Only where rows->numeric_groups is true. */
double plot_rows_group_value(const struct plot_rows *rows, size_t group);
/* Joins the smallest groups as "other (K groups)", so that at most `most` remain. */
int plot_rows_join_groups(struct plot_rows *rows, size_t most);
void plot_rows_free(struct plot_rows *rows);
/* Copies the first name of the list "a,b,c" into name and moves *list behind it. Returns false at
 * the end, where *list is NULL. */
bool plot_next_name(const char **list, char *name, size_t size);

/* ---- summary.c: what is drawn instead of the rows ---- */

/* Quantile p of sorted [n] ascending, n > 0: linear between order statistics (definition 7 of
 * Hyndman and Fan 1996, numpy's default). */
double plot_quantile(const double *sorted, size_t n, double p);
/* Sorts x [n] ascending; no NaN. */
void plot_sort(double *x, size_t n);

/* The edges of bins over x [n], all finite, n > 0: `asked` of them, or with 0 as many as the rule
 * of Freedman and Diaconis (1981) gives, width 2 IQR n^(-1/3), at most max_bins; Sturges' rule
 * where the IQR is 0. Whole numbers get bins of whole width, centred on them. *edges [*n_bins + 1]
 * ascending, free with nk_free. */
int plot_bin_edges(const double *x, size_t n, size_t asked, size_t max_bins, double **edges,
                   size_t *n_bins);
/* counts [n_bins] of the values in [edges[b], edges[b + 1]), the last bin closed. Values outside
 * are not counted. */
void plot_bin_count(const double *x, size_t n, const double *edges, size_t n_bins, size_t *counts);
/* The bin that contains value, or -1. */
int64_t plot_bin_of(double value, const double *edges, size_t n_bins);

/* out [n]: the distance of (x[i], y[i]) from the bulk, after each axis is centred on its median and
 * divided by 1.4826 times its median absolute deviation (by the standard deviation where that is 0;
 * an axis with one value does not count). y can be NULL. */
int plot_extremeness(const double *x, const double *y, size_t n, double *out);

/* Points on the canvas, in a frame of width x height with its corner at (0, 0). */
struct plot_points {
  size_t n;
  const double *x, *y; /* [n] */
  double width, height;
};

/* out [n] in [0, 1]: the logarithm of the density of points around each point; 1 at the densest. */
int plot_density(const struct plot_points *points, double *out);
/* keep [n]: is the point one of the first `most` in its cell of a grid of `cell` units? */
int plot_thin(const struct plot_points *points, double cell, unsigned most, bool *keep);

/* ---- estimates.c: statistics or shares with intervals, ordinary rows ---- */

enum { PLOT_STATISTIC, PLOT_VALUE, PLOT_LOW, PLOT_HIGH, PLOT_ESTIMATE_COLUMNS };

/* A number with its interval; NaN: an end that is missing. */
struct plot_estimate {
  double value, low, high;
};

/* Whether and how the table is one of nk-summary, or of nk-run --flag-summary, where a flag is the
 * statistic. */
struct plot_estimates {
  bool any;
  const char *const *form; /* the names of its columns */
  size_t column[PLOT_ESTIMATE_COLUMNS];
  const char *statistic; /* the one that is drawn; NULL: each is a group */
  bool *skip;            /* [n_rows] rows that are not drawn; plot->skip */
  char **categories;     /* [n_categories] the texts of x, which is then 1, 2, ... */
  size_t n_categories;
};

/* The range behind the lines. */
struct plot_ordinary {
  bool any;
  struct plot_estimate at;
  char name[64];
};

/* Recognizes such a table, in which plot->y names a statistic (NULL: all of them). Then
 * plot->y becomes the column of the values and plot->by, where it is NULL, what differs. */
int plot_estimates_find(struct plot_estimates *e, struct plot *plot, const struct cli_frame *frame);
/* Takes the rows as plot_rows_collect does, with categories where x is a column of texts. */
int plot_estimates_rows(struct plot_estimates *e, struct plot_rows *rows, const struct plot *plot,
                        const struct cli_frame *frame);
/* What is drawn: "median kl", "share of loop"; "" for several statistics. */
void plot_estimates_name(const struct plot_estimates *e, char *name, size_t size);
/* The confidence of the intervals: that of the first row; NaN where it is not known. */
double plot_estimates_level(const struct plot_estimates *e, const struct cli_frame *frame);
void plot_estimates_free(struct plot_estimates *e);
void plot_estimate_of(const struct plot_estimates *e, const struct cli_frame *frame, size_t row,
                      struct plot_estimate *out);
/* The range of the ordinary rows that the plot names, which are left out of the lines. */
int plot_ordinary_find(struct plot_ordinary *out, const struct plot *plot,
                       const struct cli_frame *frame, const struct plot_estimates *drawn);

/* ---- axes.c ---- */

enum { PLOT_MAX_TICKS = 96 };

struct plot_ticks {
  double at[PLOT_MAX_TICKS];
  char text[PLOT_MAX_TICKS][32];
  size_t n;
};

/* The map from data to positions. */
struct plot_axis {
  double lo, hi; /* data; positive where the axis is logarithmic */
  bool log;
  bool whole;      /* the data are whole numbers: ticks are too */
  double from, to; /* positions of lo and hi */
  struct plot_ticks ticks;
};

double plot_axis_position(const struct plot_axis *axis, double value);
/* Widens [lo, hi] at both ends by `margin` of its length (of its logarithm's length). */
void plot_axis_pad(struct plot_axis *axis, double margin);
/* Sets about `wanted` ticks at most, at round numbers inside [lo, hi]. */
void plot_axis_ticks(struct plot_axis *axis, size_t wanted);
/* Writes value as a tick's text where ticks are `step` apart: "12,500", "0.25", "3.5×10⁻⁷". */
void plot_number_text(double value, double step, char *out, size_t size);

/* ---- text.c: text on the canvas ---- */

/* The code points that fonts can draw, as ranges. n == 0: unknown, everything counts as drawn. */
struct plot_glyphs {
  uint32_t (*range)[2];
  size_t n, capacity;
};

/* Asks fontconfig for the glyphs of this machine's fonts; ASCII and Latin-1 where that fails. */
int plot_glyphs_load(struct plot_glyphs *glyphs);
/* The same from fc-list's output for `%{charset}`: lines of "20-7e a0 ac-ff". */
int plot_glyphs_parse(struct plot_glyphs *glyphs, const char *charsets);
void plot_glyphs_free(struct plot_glyphs *glyphs);
bool plot_glyphs_hold(const struct plot_glyphs *glyphs, uint32_t code);

/* Appends a cell as it is drawn: code points that are invisible, change the text's direction, or
 * have no glyph become \u{HEX}; a combining mark without a letter gets a dotted circle; with
 * `spaces`, leading and trailing spaces become U+2423; what exceeds max_columns (0: any) is cut
 * with an ellipsis. */
void plot_display(struct nk_buffer *out, const char *cell, const struct plot_glyphs *glyphs,
                  bool spaces, size_t max_columns);
/* The width of UTF-8 text at font size 1, in ems of DejaVu Sans, which is close to that of other
 * sans-serif fonts; with `cells`, in columns of a terminal. */
double plot_text_width(const char *text, bool cells);

/* ---- labels.c: positions of labels ---- */

struct plot_box {
  double x0, y0, x1, y1;
};

/* A label that is placed near its point. */
struct plot_label {
  double x, y;          /* its point */
  double width, height; /* of its text */
  bool placed;          /* out: false where there was no room */
  struct plot_box box;  /* out */
  bool leader;          /* out: is a line needed, from (end_x, end_y) on the box to the point? */
  double end_x, end_y;  /* out */
};

struct plot_placing {
  struct plot_box frame;        /* labels stay inside */
  const struct plot_box *taken; /* [n_taken] no label overlaps these */
  size_t n_taken;
  const double *ink_x, *ink_y; /* [n_ink] points that are better not covered */
  size_t n_ink;
  double gap; /* between a point and its label; a third of it between labels */
};

/* Places labels in the order given, the first with the first choice, then moves each to a better
 * place while there is one. No two boxes overlap, none leaves the frame or meets a taken box. */
int plot_labels_place(struct plot_label *labels, size_t n, const struct plot_placing *placing);

/* Moves centres [n] (in any order) as little as necessary, so that they are at least `apart` from
 * one another and, as far as there is room, inside [lo, hi]. */
int plot_spread(double *centres, size_t n, double apart, double lo, double hi);

/* ---- script.c: variables and data for the templates ---- */

void plot_script_number(struct nk_buffer *script, const char *name, double value);
void plot_script_text(struct nk_buffer *script, const char *name, const char *text);
/* An array NAME [n] with its size NAME_n. */
void plot_script_numbers(struct nk_buffer *script, const char *name, const double *values,
                         size_t n);
void plot_script_texts(struct nk_buffer *script, const char *name, char *const *texts, size_t n);
/* Begins a block of data "$NAME": lines of numbers follow by nk_buffer_printf, then the end. */
void plot_script_data(struct nk_buffer *script, const char *name);
void plot_script_data_end(struct nk_buffer *script);

/* ---- canvas.c, layout.c, annotate.c: the parts of every picture ---- */

enum { PLOT_MAX_CUTS = 64, PLOT_MAX_GROUPS = 8, PLOT_MARK_STYLE = 0, PLOT_NEUTRAL_STYLE = -1 };

/* A straight line across the frame. */
struct plot_cut {
  bool vertical; /* at a value of x */
  double at;
  const char *text; /* "" for none */
};

/* A text in the picture. */
struct plot_note {
  char *text;
  double x, y; /* of its near end, at half its height */
  int side;    /* 1: the text begins there, -1: it ends there, 0: it is centred there */
  int style;   /* the legend's: a linetype, PLOT_MARK_STYLE (marked rows), PLOT_NEUTRAL_STYLE */
};

struct plot_notes {
  struct plot_note *note;
  size_t n;
};

/* A picture while it is laid out. */
struct plot_canvas {
  const struct plot *plot;
  const struct cli_frame *frame;
  struct nk_buffer script;
  struct plot_glyphs glyphs;
  bool glyphs_loaded;
  bool text;                    /* the picture consists of characters */
  double width, height;         /* of the picture */
  double em, tick_em, title_em; /* font sizes of labels, ticks, the title */
  double line;                  /* height of a line of labels */
  struct plot_axis x, y;
  struct plot_axis scale; /* of colours; lo == hi: none */
  const char *scale_name;
  struct plot_box inside; /* the frame of the axes */
  double room_right;      /* needed to the right of the frame beyond the usual margin */
  char *x_name, *y_name;  /* the axes' labels */
  struct plot_cut cut[PLOT_MAX_CUTS];
  size_t n_cuts;
  struct plot_notes legend, cut_texts;
  struct plot_box *taken; /* [n_taken] where no label of a row may be */
  size_t n_taken;
};

/* Checks the plot and sets fonts and sizes. x_name and y_name label axes without a label of their
 * own. plot_canvas_free is due also after a failure. */
int plot_canvas_begin(struct plot_canvas *canvas, const struct plot *plot,
                      const struct cli_frame *frame, const char *x_name, const char *y_name);
void plot_canvas_free(struct plot_canvas *canvas);
/* A cell or name as it is drawn (plot_display), at most `most` columns (0: any). Free with nk_free;
 * NULL on failure. */
char *plot_canvas_text(struct plot_canvas *canvas, const char *cell, bool spaces, size_t most);
double plot_canvas_width(const struct plot_canvas *canvas, const char *text, double em);
/* Adds an entry to the legend. */
int plot_canvas_legend(struct plot_canvas *canvas, const char *name, int style);
/* Adds the groups' names, where there are several, and the mark's. */
int plot_canvas_legend_rows(struct plot_canvas *canvas, const struct plot_rows *rows);
/* Loads the template of the picture's kind, runs gnuplot and writes the picture. */
int plot_canvas_draw(struct plot_canvas *canvas, struct nk_output *output);

/* layout.c. Sets the range of the y axis (`vertical`) or x axis to what was asked, or so that it
 * contains values [n], the cuts and outlines; `margin` of its length is left free at both ends. */
int plot_canvas_range(struct plot_canvas *canvas, bool vertical, const double *values, size_t n,
                      double margin);
/* Computes margins, ticks and the positions of legend and cuts, once the axes have their ranges,
 * and adds them to the script. With `categories` the axis has its ticks already. */
int plot_canvas_layout(struct plot_canvas *canvas, bool x_categories, bool y_categories);

/* annotate.c. Labels the rows that were asked for. y [rows->n]; NULL: the points are at the bottom
 * of the frame. */
int plot_canvas_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y);

/* Adds arrays NAME_text, NAME_x, NAME_y, NAME_side and NAME_style to the script. */
void plot_canvas_notes(struct plot_canvas *canvas, const char *name,
                       const struct plot_notes *notes);
/* Adds a note, whose text is taken over, also on failure; NK_EMEMORY where it is NULL. */
int plot_notes_add(struct plot_notes *notes, const struct plot_note *note);
void plot_notes_free(struct plot_notes *notes);

/* ---- gnuplot.c ---- */

/* Runs gnuplot on script and appends its output to picture. NK_EIO, with gnuplot's message, where
 * it is missing or fails. */
int plot_gnuplot(const struct nk_buffer *script, struct nk_buffer *picture);
/* Rewrites gnuplot's SVG: bold fonts by their weight, and points in an eighth of the bytes. */
int plot_svg_shorten(struct nk_buffer *picture);
/* The path of a template. Free with nk_free; NULL on failure. */
char *plot_template_path(const char *name);

/* ---- One function per kind of picture ---- */

typedef int plot_picture(const struct plot *plot, const struct cli_frame *frame,
                         struct nk_output *output);
plot_picture plot_draw_histogram, plot_draw_scatter, plot_draw_scree, plot_draw_curve,
    plot_draw_heatmap;

#endif
