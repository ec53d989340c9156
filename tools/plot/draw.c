/* The entry to tools/plot: formats, checks, defaults, and a function for each kind of picture. */
#include "plot/plot.h"

#include <string.h>
#include <strings.h>

#include "plot/internal.h"

int plot_format_of(const char *name) {
  static const struct {
    const char *suffix;
    enum plot_format format;
  } suffixes[] = {
      {"png", PLOT_PNG},  {"svg", PLOT_SVG},   {"pdf", PLOT_PDF},
      {"txt", PLOT_TEXT}, {"text", PLOT_TEXT},
  };
  const char *dot = strrchr(name, '.');
  const char *suffix = dot != NULL ? dot + 1 : name;
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
    if (strcasecmp(suffix, suffixes[i].suffix) == 0) return (int)suffixes[i].format;
  return -1;
}

static bool is_empty(const struct plot_range *range) {
  return range->has_lo && range->has_hi && range->lo >= range->hi;
}

/* The columns of nk-stats --path, summarized over pairs. */
static void set_paths(struct plot *plot, const struct cli_frame *frame) {
  bool layers = cli_frame_find(frame, "layer") >= 0;
  if (plot->x == NULL) plot->x = "t";
  if (plot->y == NULL) plot->y = "relative";
  if (plot->by == NULL) plot->by = "pair";
  if (plot->colour == NULL && layers) plot->colour = "layer";
  if (plot->summary == PLOT_ROWS) plot->summary = PLOT_MEDIAN;
}

/* What a kind of picture cannot show is an error, not ignored. */
static int check_kind(const struct plot *plot) {
  enum plot_kind kind = plot->kind;
  bool rows = kind == PLOT_HISTOGRAM || kind == PLOT_SCATTER;
  bool curve = kind == PLOT_CURVE || kind == PLOT_PATHS;
  const char *wrong = NULL;
  if (!rows && plot->mark != NULL) wrong = "marked rows";
  if (!rows && (plot->n_labels > 0 || plot->n_label_ids > 0)) wrong = "labelled rows";
  if (kind != PLOT_SCATTER && !curve && plot->n_outlines > 0) wrong = "outlines";
  if (kind != PLOT_SCATTER && kind != PLOT_HEATMAP && plot->z != NULL) wrong = "a column z";
  if (kind == PLOT_HISTOGRAM && plot->y != NULL) wrong = "a column y";
  if ((kind == PLOT_SCREE || kind == PLOT_HEATMAP) && plot->by != NULL) wrong = "groups";
  if (kind == PLOT_SCATTER && plot->by != NULL && plot->z != NULL)
    wrong = "both groups and a column z";
  if (kind == PLOT_HEATMAP && plot->n_lines > 0) wrong = "cuts";
  if (!curve && (plot->ordinary != NULL || plot->ordinary_frame != NULL)) wrong = "ordinary rows";
  if (!curve && plot->interval) wrong = "intervals";
  if (!curve && plot->summary != PLOT_ROWS) wrong = "a summary of lines";
  if (plot->summary == PLOT_ROWS && plot->colour != NULL) wrong = "colours without a summary";
  if (plot->summary == PLOT_ROWS && plot->no_strands) wrong = "fewer lines without a summary";
  if (plot->summary != PLOT_ROWS && plot->by == NULL)
    return nk_fail(NK_EUSAGE, "a summary of lines needs the column that makes them; use --by");
  if (is_empty(&plot->x_range) || is_empty(&plot->y_range))
    return nk_fail(NK_EUSAGE, "empty range: its low end is not below its high end");
  if (plot->label_by != NULL && plot->n_labels == 0)
    return nk_fail(NK_EUSAGE, "labels by '%s': the number of labels is missing", plot->label_by);
  if (wrong != NULL) return nk_fail(NK_EUSAGE, "this kind of picture does not take %s", wrong);
  return NK_OK;
}

int plot_draw(const struct plot *plot, const struct cli_frame *frame, struct nk_output *output) {
  static plot_picture *const pictures[] = {
      [PLOT_HISTOGRAM] = plot_draw_histogram, [PLOT_SCATTER] = plot_draw_scatter,
      [PLOT_SCREE] = plot_draw_scree,         [PLOT_CURVE] = plot_draw_curve,
      [PLOT_PATHS] = plot_draw_curve,         [PLOT_HEATMAP] = plot_draw_heatmap,
  };
  struct plot chosen = *plot;
  if (plot->kind == PLOT_PATHS) set_paths(&chosen, frame);
  int code = check_kind(&chosen);
  if (code != NK_OK) return code;
  if (chosen.dpi == 0) chosen.dpi = 96;
  if (chosen.band[0] == 0 && chosen.band[1] == 0) {
    chosen.band[0] = 0.05;
    chosen.band[1] = 0.95;
    chosen.interval = chosen.interval || chosen.summary != PLOT_ROWS;
  }
  return pictures[plot->kind](&chosen, frame, output);
}
