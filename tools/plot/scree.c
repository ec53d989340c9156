/* Scree: the share of the variance of each component, and the running sum on an axis of its own. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

struct component {
  double number, value, sum;
};

static int compare_components(const void *a, const void *b) {
  double x = ((const struct component *)a)->number, y = ((const struct component *)b)->number;
  return (x > y) - (x < y);
}

/* Components in order, with their running sum in percent: of the total variance where the values
 * are shares of it (the table can end early), otherwise of the table's own sum. */
static int gather(struct component *components, const struct plot_rows *rows,
                  const struct plot *plot) {
  bool shares = strcmp(plot->y, "ratio") == 0;
  double total = 0, sum = 0;
  for (size_t i = 0; i < rows->n; i++) {
    if (rows->y[i] < 0) return nk_fail(NK_EDATA, "column '%s': a variance is negative", plot->y);
    components[i] = (struct component){rows->x[i], rows->y[i] * (shares ? 100 : 1), 0};
    total += rows->y[i];
  }
  qsort(components, rows->n, sizeof *components, compare_components);
  for (size_t i = 0; i < rows->n; i++) {
    sum += shares ? components[i].value : total > 0 ? 100 * components[i].value / total : 0;
    components[i].sum = fmin(sum, 100);
  }
  return NK_OK;
}

/* The components at which the sum reaches 50, 90 and 99 percent: a dot on its line, a note beside.
 */
static int write_marks(struct plot_canvas *canvas, const struct component *components, size_t n) {
  static const double levels[] = {50, 90, 99};
  struct plot_notes notes = {0};
  struct nk_buffer *script = &canvas->script;
  int code = NK_OK;
  plot_script_data(script, "Reached");
  for (size_t k = 0, i = 0; code == NK_OK && k < 3; k++) {
    while (i < n && components[i].sum < levels[k] - 1e-9) i++;
    if (i == n) break;
    double height = (canvas->inside.y1 - canvas->inside.y0) / 104;
    char text[64];
    snprintf(text, sizeof text, "%g%%: %g", levels[k], components[i].number);
    double x = plot_axis_position(&canvas->x, components[i].number);
    double width = plot_canvas_width(canvas, text, canvas->em);
    struct plot_note note = {
        .text = nk_strdup(text),
        .y = canvas->inside.y0 + components[i].sum * height - 0.9 * canvas->line,
        .side = x + width + canvas->em > canvas->inside.x1 ? -1 : 1,
    };
    note.x = x + note.side * (canvas->text ? 1 : 0.5 * canvas->em);
    code = plot_notes_add(&notes, &note);
    nk_buffer_printf(script, "%.9g %.9g\n", components[i].number, components[i].sum);
  }
  nk_buffer_text(script, "NaN NaN\n");
  plot_script_data_end(script);
  plot_canvas_notes(canvas, "Reach", &notes);
  plot_notes_free(&notes);
  return code;
}

static int set_ranges(struct plot_canvas *canvas, const struct component *components, size_t n) {
  double *values = nk_alloc(n, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) values[i] = components[i].number;
  int code = plot_canvas_range(canvas, false, values, n, n > 60 ? 0.01 : 0.5 / (double)n);
  for (size_t i = 0; i < n; i++) values[i] = components[i].value;
  if (code == NK_OK) code = plot_canvas_range(canvas, true, values, n, 0.04);
  if (!canvas->y.log && !canvas->plot->y_range.has_lo) canvas->y.lo = 0;
  nk_free(values);
  return code;
}

static int draw(struct plot_canvas *canvas, const struct plot_rows *rows,
                struct component *components, struct nk_output *output) {
  struct nk_buffer *script = &canvas->script;
  int code = gather(components, rows, canvas->plot);
  if (code == NK_OK) code = set_ranges(canvas, components, rows->n);
  canvas->room_right = canvas->text ? 5 : 2.8 * canvas->tick_em;
  if (code == NK_OK) code = plot_canvas_layout(canvas, false, false);
  if (code != NK_OK) return code;
  plot_script_data(script, "Components");
  for (size_t i = 0; i < rows->n; i++)
    nk_buffer_printf(script, "%.9g %.9g %.9g\n", components[i].number,
                     fmax(components[i].value, canvas->y.lo), components[i].sum);
  plot_script_data_end(script);
  plot_script_number(script, "Components_n", (double)rows->n);
  code = write_marks(canvas, components, rows->n);
  return code == NK_OK ? plot_canvas_draw(canvas, output) : code;
}

/* A line at the edge of noise where the table says what share of the variance it is. */
static int add_noise_edge(struct plot_canvas *canvas, const struct cli_frame *frame) {
  int64_t column = cli_frame_find(frame, "noise_ratio");
  double share = 0;
  if (column < 0 || cli_frame_n_rows(frame) == 0 || canvas->n_cuts == PLOT_MAX_CUTS) return NK_OK;
  int code = cli_frame_number(frame, 0, (size_t)column, &share);
  if (code == NK_OK && isfinite(share))
    canvas->cut[canvas->n_cuts++] = (struct plot_cut){.at = 100 * share, .text = "noise edge"};
  return code == NK_ENOTFOUND ? NK_OK : code;
}

int plot_draw_scree(const struct plot *plot, const struct cli_frame *frame,
                    struct nk_output *output) {
  struct plot chosen = *plot;
  if (chosen.x == NULL) chosen.x = "component";
  if (chosen.y == NULL) chosen.y = "ratio";
  if (strchr(chosen.y, ',') != NULL) return nk_fail(NK_EUSAGE, "a scree plot takes one column");
  struct plot_rows rows;
  struct plot_canvas canvas = {0};
  struct component *components = NULL;
  int code = plot_rows_collect(&rows, &chosen, frame, PLOT_X | PLOT_Y);
  const char *y_name = strcmp(chosen.y, "ratio") == 0 ? "% of variance" : chosen.y;
  if (code == NK_OK) code = plot_canvas_begin(&canvas, &chosen, frame, chosen.x, y_name);
  if (code == NK_OK && strcmp(chosen.y, "ratio") == 0) code = add_noise_edge(&canvas, frame);
  if (code == NK_OK) {
    components = nk_alloc(rows.n, sizeof *components);
    code = components != NULL ? draw(&canvas, &rows, components, output) : NK_EMEMORY;
  }
  nk_free(components);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
