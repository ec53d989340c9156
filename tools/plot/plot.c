/* The way into lib/plot: defaults, formats, and one function for each kind of picture. */
#include "plot/plot.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "plot/internal.h"

void plot_defaults(struct plot *plot) {
  *plot = (struct plot){
      .dpi = 96,
      .x_range = {NAN, NAN},
      .y_range = {NAN, NAN},
      .band = {0.05, 0.95},
  };
}

int plot_format_of(const char *name) {
  static const struct {
    const char *suffix;
    enum plot_format format;
  } suffixes[] = {
      {"png", PLOT_PNG},  {"svg", PLOT_SVG},   {"pdf", PLOT_PDF},
      {"txt", PLOT_TEXT}, {"text", PLOT_TEXT},
  };
  const char *dot = strrchr(name, '.');
  const char *suffix = dot ? dot + 1 : name;
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
    if (strcasecmp(suffix, suffixes[i].suffix) == 0) return (int)suffixes[i].format;
  return -1;
}

/* What a kind of picture cannot show is refused, not ignored. */
static int check_kind(const struct plot *plot) {
  enum plot_kind kind = plot->kind;
  bool rows = kind == PLOT_HISTOGRAM || kind == PLOT_SCATTER;
  const char *wrong = NULL;
  if (!rows && plot->mark) wrong = "marked rows";
  if (!rows && (plot->n_labels || plot->n_label_ids)) wrong = "labelled rows";
  if (kind != PLOT_SCATTER && kind != PLOT_CURVE && plot->n_outlines) wrong = "outlines";
  if (kind != PLOT_SCATTER && kind != PLOT_HEATMAP && plot->z) wrong = "a column z";
  if (kind == PLOT_HISTOGRAM && plot->y) wrong = "a column y";
  if ((kind == PLOT_SCREE || kind == PLOT_HEATMAP) && plot->by) wrong = "groups";
  if (kind == PLOT_SCATTER && plot->by && plot->z) wrong = "both groups and a column z";
  if (kind == PLOT_HEATMAP && plot->n_lines) wrong = "cuts";
  if (plot->x_range[0] >= plot->x_range[1] || plot->y_range[0] >= plot->y_range[1])
    return nk_fail(NK_EUSAGE, "a range ends before it begins");
  if (plot->label_by && !plot->n_labels)
    return nk_fail(NK_EUSAGE, "labels by '%s': of how many rows?", plot->label_by);
  return wrong ? nk_fail(NK_EUSAGE, "this kind of picture does not take %s", wrong) : 0;
}

int plot_draw(const struct plot *plot, const struct cli_frame *frame, struct nk_output *output) {
  static plot_picture *const pictures[] = {
      [PLOT_HISTOGRAM] = plot_draw_histogram, [PLOT_SCATTER] = plot_draw_scatter,
      [PLOT_SCREE] = plot_draw_scree,         [PLOT_CURVE] = plot_draw_curve,
      [PLOT_HEATMAP] = plot_draw_heatmap,
  };
  int code = check_kind(plot);
  return code == NK_OK ? pictures[plot->kind](plot, frame, output) : code;
}
