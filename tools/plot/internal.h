/* What the files of lib/plot share. The way of a picture: rows (data.c) -> bins, quantiles,
 * densities (summary.c) -> axes and margins (axes.c) -> labels (text.c, labels.c, annotate.c) -> a
 * script (script.c) -> gnuplot (gnuplot.c). */
#ifndef PLOT_INTERNAL_H
#define PLOT_INTERNAL_H

#include <noken/base.h>
#include <stdint.h>
#include "plot/plot.h"

/* ---- summary.c: what is drawn instead of the rows ---- */

/* Quantile p of x[0..n) sorted ascending, n > 0: linear between order statistics (type 7 of
 * Hyndman and Fan 1996, numpy's default). */
double plot_quantile(const double *sorted, size_t n, double p);
void plot_sort(double *x, size_t n);

/* The edges of bins over x[0..n), all finite, n > 0: `asked` of them, or with 0 as many as Freedman
 * and Diaconis (1981) give, width 2 IQR n^(-1/3), at most max_bins; Sturges' rule where the IQR is
 * 0. Whole numbers get bins of whole width, centred on them. *edges [*n_bins + 1] ascending, free
 * with nk_free. */
int plot_bin_edges(const double *x, size_t n, size_t asked, size_t max_bins, double **edges,
                   size_t *n_bins);
/* counts[b] of the values in [edges[b], edges[b+1]), the last bin closed; others are not counted.
 */
void plot_bin_count(const double *x, size_t n, const double *edges, size_t n_bins, size_t *counts);
/* The bin that holds value, or -1. */
int64_t plot_bin_of(double value, const double *edges, size_t n_bins);

/* out[i]: how far (x[i], y[i]) is from the bulk, after each axis is centred on its median and
 * divided by 1.4826 times its median absolute deviation (by the standard deviation where that is
 * 0; an axis of one value does not count). */
int plot_extremeness(const double *x, const double *y, size_t n, double *out);

/* out[i] in [0, 1]: logarithm of how densely points stand around point i, in a frame of width x
 * height where x and y [n] are positions in it; 1 at the densest. */
int plot_density(const double *x, const double *y, size_t n, double width, double height,
                 double *out);
/* keep[i]: point i is among the first `most` of its cell of a grid of `cell` units. */
int plot_thin(const double *x, const double *y, size_t n, double width, double height, double cell,
              unsigned most, bool *keep);

/* ---- axes.c ---- */

enum { PLOT_MAX_TICKS = 96 };

struct plot_ticks {
  double at[PLOT_MAX_TICKS];
  char text[PLOT_MAX_TICKS][32];
  size_t n;
};

/* From data to a position in the picture. */
struct plot_axis {
  double lo, hi; /* data; log: both over 0 */
  bool log;
  double from, to; /* positions of lo and hi, in units of the canvas */
  struct plot_ticks ticks;
};

double plot_axis_position(const struct plot_axis *axis, double value);
/* Widens [lo, hi] by `margin` of its length at both ends (of its logarithm's length). */
void plot_axis_pad(struct plot_axis *axis, double margin);
/* At most about `wanted` round ticks inside [lo, hi]. */
void plot_axis_ticks(struct plot_axis *axis, size_t wanted);
/* "12,500", "0.25", "3.5×10⁻⁷": value as it is written where ticks are `step` apart. */
void plot_number_text(double value, double step, char *out, size_t size);

/* ---- text.c: text on the canvas ---- */

/* What a font can draw: ranges of code points. Without it (n == 0) everything is taken as drawn. */
struct plot_glyphs {
  uint32_t (*range)[2];
  size_t n, capacity;
};

/* Asks fontconfig what this machine's fonts can draw; ASCII and Latin-1 when that fails. */
int plot_glyphs_load(struct plot_glyphs *glyphs);
/* The same from what fc-list prints for `%{charset}`: lines of "20-7e a0 ac-ff". */
int plot_glyphs_parse(struct plot_glyphs *glyphs, const char *charsets);
void plot_glyphs_free(struct plot_glyphs *glyphs);
bool plot_glyphs_hold(const struct plot_glyphs *glyphs, uint32_t code);

/* Makes a cell fit to be drawn, appended to out: code points that are invisible, steer the text's
 * direction, or that no font here can draw become \u{...}; a mark without a letter gets a dotted
 * circle; with `spaces`, leading and trailing spaces show as U+2423; what is over max_columns
 * (0: any) is cut with an ellipsis. */
void plot_display(struct nk_buffer *out, const char *cell, const struct plot_glyphs *glyphs,
                  bool spaces, size_t max_columns);
/* Width of UTF-8 text at a size of 1: in ems of DejaVu Sans, near enough to other sans fonts; with
 * `cells`, in character cells of a terminal. */
double plot_text_width(const char *text, bool cells);

/* ---- labels.c ---- */

struct plot_box {
  double x0, y0, x1, y1;
};

/* A label that wants to be near its point. Positions in units of the canvas, y upwards. */
struct plot_label {
  double x, y;          /* its point */
  double width, height; /* of its text */
  bool placed;          /* out: false when there was no room */
  struct plot_box box;  /* out */
  bool leader;          /* out: a line from (end_x, end_y) on the box to the point is needed */
  double end_x, end_y;
};

struct plot_placing {
  struct plot_box frame;        /* labels stay inside */
  const struct plot_box *taken; /* [n_taken] no label there */
  size_t n_taken;
  const double *ink_x, *ink_y; /* [n_ink] points better not covered */
  size_t n_ink;
  double gap; /* between a point and its label; a label keeps a third of it from others */
};

/* Places labels in the order given, the first having first choice, then lets each move to a better
 * place while that helps. No two boxes overlap, none leaves the frame or meets a taken box. */
int plot_labels_place(struct plot_label *labels, size_t n, const struct plot_placing *placing);

/* Moves centres[0..n) (any order) as little as needed that they are `apart` or more from one
 * another and within [lo, hi] as far as that has room. */
int plot_spread(double *centres, size_t n, double apart, double lo, double hi);

/* ---- data.c: from the table to numbers ---- */

struct plot_rows {
  size_t n;
  double *x, *y, *z;  /* [n]; NULL where the picture takes none */
  size_t *row;        /* [n] row of the table */
  uint32_t *group;    /* [n] */
  bool *marked;       /* [n] */
  char **group_names; /* [n_groups] cells or column names */
  size_t n_groups;
  bool numeric_groups; /* every name is a number, ascending */
  size_t n_marked;
};

enum { PLOT_X = 1, PLOT_Y = 2, PLOT_Z = 4 };

/* Takes the rows that have all of the numbers `need` (PLOT_X ...), each finite, over 0 where its
 * axis is logarithmic, and inside the asked range; warns of those left out. */
int plot_rows_collect(struct plot_rows *rows, const struct plot *plot,
                      const struct cli_frame *frame, unsigned need);
/* Groups the rows anew by the cells of a column: numbers ascending, else as they come. */
int plot_rows_group(struct plot_rows *rows, const struct cli_frame *frame, const char *column);
/* Joins the smallest groups as "other (K)" so that at most `most` remain. */
int plot_rows_join_groups(struct plot_rows *rows, size_t most);
void plot_rows_free(struct plot_rows *rows);
/* The first of "a,b,c", or one that stands alone; copies into name. */
bool plot_next_name(const char **list, char *name, size_t size);

/* ---- script.c: what the templates are given ---- */

void plot_script_number(struct nk_buffer *script, const char *name, double value);
void plot_script_text(struct nk_buffer *script, const char *name, const char *text);
void plot_script_numbers(struct nk_buffer *script, const char *name, const double *values,
                         size_t n);
void plot_script_texts(struct nk_buffer *script, const char *name, char *const *texts, size_t n);
/* "$NAME << EOD"; then lines by nk_buffer_printf, numbers only; then plot_script_data_end. */
void plot_script_data(struct nk_buffer *script, const char *name);
void plot_script_data_end(struct nk_buffer *script);

/* ---- canvas.c: the parts that every picture has ---- */

enum { PLOT_MAX_CUTS = 64, PLOT_MAX_GROUPS = 8, PLOT_MARK_STYLE = 0 };

/* A straight line across the frame. */
struct plot_cut {
  bool vertical; /* at a value of x */
  double at;
  const char *text; /* "" for none */
};

/* Text somewhere in the picture. */
struct plot_note {
  char *text;
  double x, y; /* of its near end, at half its height */
  int side;    /* 1: the text runs right from there, -1: it ends there, 0: centred */
  int style;   /* the legend's: linetype, PLOT_MARK_STYLE for marked rows */
};

struct plot_notes {
  struct plot_note *note;
  size_t n;
};

/* A picture being laid out. Lengths are in 1/96 inch from its lower left corner; on a text terminal
 * in characters. */
struct plot_canvas {
  const struct plot *plot;
  const struct cli_frame *frame;
  struct nk_buffer script;
  struct plot_glyphs glyphs;
  bool glyphs_loaded;
  bool text;                    /* drawn with characters */
  double width, height;         /* of the picture */
  double em, tick_em, title_em; /* font sizes of labels, ticks, the title */
  double line;                  /* height of a line of labels */
  struct plot_axis x, y;
  struct plot_axis scale; /* of colours; lo == hi: none */
  const char *scale_name;
  struct plot_box inside; /* the frame of the axes */
  double room_right;      /* wanted there beyond the usual margin */
  char *x_name, *y_name;  /* what stands at the axes */
  struct plot_cut cut[PLOT_MAX_CUTS];
  size_t n_cuts;
  struct plot_notes legend, cut_texts;
  struct plot_box *taken; /* [n_taken] where the cuts' texts stand */
  size_t n_taken;
};

/* Fonts and sizes. x_name and y_name stand at axes for which no label was asked. */
int plot_canvas_begin(struct plot_canvas *canvas, const struct plot *plot,
                      const struct cli_frame *frame, const char *x_name, const char *y_name);
void plot_canvas_free(struct plot_canvas *canvas);
/* A cell or name as it can be drawn, cut at `most` columns (0: not). Free with nk_free. */
char *plot_canvas_text(struct plot_canvas *canvas, const char *cell, bool spaces, size_t most);
double plot_canvas_width(const struct plot_canvas *canvas, const char *text, double em);
/* Adds an entry to the legend. */
int plot_canvas_legend(struct plot_canvas *canvas, const char *name, int style);
/* The groups' names where there are several, and the mark's. */
int plot_canvas_legend_rows(struct plot_canvas *canvas, const struct plot_rows *rows);
/* In layout.c. Sets an axis to hold values[0..n), the cuts and outlines, or what was asked for;
 * `margin` of its length is left free at both ends. */
int plot_canvas_range(struct plot_canvas *canvas, bool vertical, const double *values, size_t n,
                      double margin);
/* Margins, ticks, legend and cuts, once the axes have their ranges; goes into the script. With
 * `categories` the axes' ticks are there already. */
int plot_canvas_layout(struct plot_canvas *canvas, bool x_categories, bool y_categories);
/* In annotate.c. The rows asked for get their labels; y == NULL: they stand on the bottom of the
 * frame. */
int plot_canvas_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y);
/* Text that the template is to set: arrays NAME_text, _x, _y, _side and _style. */
void plot_canvas_notes(struct plot_canvas *canvas, const char *name,
                       const struct plot_notes *notes);
int plot_notes_add(struct plot_notes *notes, const struct plot_note *note);
void plot_notes_free(struct plot_notes *notes);
/* Runs the template of the kind and writes the picture. */
int plot_canvas_draw(struct plot_canvas *canvas, struct nk_output *output);

/* ---- gnuplot.c ---- */

/* Runs command (found by PATH) with input (or nothing) as its standard input, and appends what it
 * writes to output and errors. *status: as waitpid gives it. NK_ENOTFOUND: there is no such
 * program. */
int plot_run(const char *const *command, const struct nk_buffer *input, struct nk_buffer *output,
             struct nk_buffer *errors, int *status);
/* Runs gnuplot on script and appends what it writes to picture. NK_EIO with gnuplot's message when
 * it is missing or fails. */
int plot_gnuplot(const struct nk_buffer *script, struct nk_buffer *picture);
/* The path of a template. Free with nk_free. */
char *plot_template_path(const char *name);

/* ---- One function per kind of picture ---- */

typedef int plot_picture(const struct plot *plot, const struct cli_frame *frame,
                         struct nk_output *output);
plot_picture plot_draw_histogram, plot_draw_scatter, plot_draw_scree, plot_draw_curve,
    plot_draw_heatmap;

#endif
