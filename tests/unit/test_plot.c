/* What tools/plot computes: quantiles, bins, distances from the bulk, ticks, texts, the positions
 * of labels; and that gnuplot executes no text as a command. */
#include "plot/internal.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/random.h"
#include "cli/frame.h"

static void assert_near(double value, double expected) {
  if (!(fabs(value - expected) <= 1e-9 * fmax(1, fabs(expected))))
    fail_msg("%.17g, not %.17g", value, expected);
}

/* ---- Quantiles and bins ---- */

static void quantiles_are_linear_between_order_statistics(void **state) {
  (void)state;
  const double x[] = {1, 2, 3, 4}, one[] = {7};
  assert_near(plot_quantile(x, 4, 0.25), 1.75); /* numpy.quantile */
  assert_near(plot_quantile(x, 4, 0.5), 2.5);
  assert_near(plot_quantile(x, 4, 0), 1);
  assert_near(plot_quantile(x, 4, 1), 4);
  assert_near(plot_quantile(one, 1, 0.05), 7);
}

static void bins_follow_freedman_and_diaconis(void **state) {
  (void)state;
  double x[1000], *edges;
  size_t n_bins;
  for (int i = 0; i < 1000; i++) x[i] = i / 10.0;
  /* IQR 49.95, width 2 * 49.95 / 10 = 9.99, range 99.9: 10 bins of it */
  assert_int_equal(plot_bin_edges(x, 1000, 0, 100, &edges, &n_bins), 0);
  assert_int_equal(n_bins, 10);
  assert_near(edges[0], 0);
  assert_near(edges[1], 9.99);
  assert_near(edges[10], 99.9);
  nk_free(edges);
  assert_int_equal(plot_bin_edges(x, 1000, 0, 4, &edges, &n_bins), 0);
  assert_int_equal(n_bins, 4);
  nk_free(edges);
  assert_int_equal(plot_bin_edges(x, 1000, 7, 4, &edges, &n_bins), 0);
  assert_int_equal(n_bins, 7);
  nk_free(edges);
}

static void whole_numbers_stand_in_the_middle_of_their_bins(void **state) {
  (void)state;
  double x[60], *edges;
  size_t n_bins, counts[6];
  for (int i = 0; i < 60; i++) x[i] = i % 6;
  assert_int_equal(plot_bin_edges(x, 60, 0, 100, &edges, &n_bins), 0);
  assert_near(edges[0], -0.5);
  assert_near(fmod(edges[1] - edges[0], 1), 0);
  size_t sum = 0;
  assert_true(n_bins <= 6);
  plot_bin_count(x, 60, edges, n_bins, counts);
  for (size_t b = 0; b < n_bins; b++) sum += counts[b];
  assert_int_equal(sum, 60);
  nk_free(edges);
}

static void the_last_bin_is_closed_and_values_outside_are_not_counted(void **state) {
  (void)state;
  const double edges[] = {0, 1, 2}, x[] = {0, 0.5, 1, 2, 2.1, -0.1, NAN};
  size_t counts[2];
  plot_bin_count(x, 7, edges, 2, counts);
  assert_int_equal(counts[0], 2);
  assert_int_equal(counts[1], 2);
  assert_int_equal(plot_bin_of(2.1, edges, 2), -1);
}

static void a_single_value_has_one_bin_around_it(void **state) {
  (void)state;
  const double x[] = {0.3, 0.3, 0.3};
  double *edges;
  size_t n_bins;
  assert_int_equal(plot_bin_edges(x, 3, 0, 100, &edges, &n_bins), 0);
  assert_int_equal(n_bins, 1);
  assert_true(edges[0] < 0.3 && edges[1] > 0.3);
  nk_free(edges);
}

/* ---- Distance from the bulk, density ---- */

static void extremeness_is_in_median_absolute_deviations(void **state) {
  (void)state;
  const double x[] = {-1, 0, 1, 0.5, -0.5, 100}, y[] = {3, 3, 3, 3, 3, 3};
  double out[6];
  /* median 0.25; |x - 0.25| sorted 0.25 0.25 0.75 0.75 1.25 99.75: their median 0.75 */
  assert_int_equal(plot_extremeness(x, y, 6, out), 0);
  assert_near(out[0], 1.25 / (1.4826 * 0.75));
  assert_near(out[5], 99.75 / (1.4826 * 0.75));
  assert_int_equal(plot_extremeness(y, NULL, 6, out), 0);
  for (int i = 0; i < 6; i++) assert_near(out[i], 0);
  assert_int_equal(plot_extremeness(NULL, NULL, 0, NULL), 0);
}

static void density_is_one_at_the_densest_and_small_for_the_lonely(void **state) {
  (void)state;
  double x[201], y[201], out[201];
  bool keep[201];
  for (int i = 0; i < 200; i++) {
    x[i] = 50 + 0.01 * i;
    y[i] = 50;
  }
  x[200] = y[200] = 250;
  const struct plot_points points = {.n = 201, .x = x, .y = y, .width = 300, .height = 300};
  assert_int_equal(plot_density(&points, out), NK_OK);
  for (int i = 0; i < 200; i++) assert_true(out[i] > 0.95 && out[i] <= 1);
  assert_true(out[200] > 0 && out[200] < 0.3);
  assert_int_equal(plot_thin(&points, 10, 3, keep), 0);
  size_t kept = 0;
  for (int i = 0; i < 201; i++) kept += keep[i];
  assert_int_equal(kept, 4);
  assert_true(keep[0] && keep[1] && keep[2] && keep[200]);
}

/* ---- Axes ---- */

static void assert_ticks(double lo, double hi, bool log_axis, size_t wanted, const char *expected) {
  struct plot_axis axis = {.lo = lo, .hi = hi, .log = log_axis};
  struct nk_buffer found = {0};
  plot_axis_ticks(&axis, wanted);
  for (size_t i = 0; i < axis.ticks.n; i++)
    nk_buffer_printf(&found, "%s%s", i ? " " : "", axis.ticks.text[i]);
  assert_string_equal(found.data, expected);
  nk_buffer_free(&found);
}

static void ticks_of_whole_numbers_are_whole(void **state) {
  (void)state;
  struct plot_axis axis = {.lo = 0.9, .hi = 4.1, .to = 1, .whole = true}; /* layers 1 to 4 */
  plot_axis_ticks(&axis, 8);
  assert_int_equal(axis.ticks.n, 4);
  assert_string_equal(axis.ticks.text[1], "2");
  axis.whole = false;
  plot_axis_ticks(&axis, 8);
  assert_string_equal(axis.ticks.text[1], "1.5");
}

static void ticks_are_round_numbers_inside_the_range(void **state) {
  (void)state;
  assert_ticks(0, 10, false, 5, "0 2 4 6 8 10");
  assert_ticks(-0.31, 0.29, false, 6, "\u22120.3 \u22120.2 \u22120.1 0 0.1 0.2");
  assert_ticks(9000, 13000, false, 4, "9,000 10,000 11,000 12,000 13,000");
  assert_ticks(10000.001, 10000.003, false, 2, "10,000.001 10,000.002 10,000.003");
  assert_ticks(0, 3e-7, false, 3, "0 10\u207B\u2077 2\u00D710\u207B\u2077 3\u00D710\u207B\u2077");
  assert_ticks(0.5, 2000, true, 6, "1 10 100 1,000");
  assert_ticks(1, 100, true, 8, "1 2 5 10 20 50 100");
  assert_ticks(1e-12, 1e-3, true, 4, "10\u207B\u00B9\u00B2 10\u207B\u2079 10\u207B\u2076 0.001");
  assert_ticks(101, 108, true, 4, "102 104 106 108"); /* no power inside: as if linear */
}

static void an_axis_takes_its_ends_to_its_positions(void **state) {
  (void)state;
  struct plot_axis axis = {.lo = 1, .hi = 100, .log = true, .from = 10, .to = 30};
  assert_near(plot_axis_position(&axis, 10), 20);
  axis.log = false;
  assert_near(plot_axis_position(&axis, 50.5), 20);
  struct plot_axis flat = {.lo = 3, .hi = 3};
  plot_axis_pad(&flat, 0.04);
  assert_true(flat.lo < 3 && flat.hi > 3);
}

/* ---- Texts ---- */

static void assert_shown(const char *cell, const char *fonts, size_t most, const char *expected) {
  struct plot_glyphs glyphs = {0};
  struct nk_buffer shown = {0};
  if (fonts != NULL) assert_int_equal(plot_glyphs_parse(&glyphs, fonts), 0);
  plot_display(&shown, cell, &glyphs, true, most);
  shown.data[shown.size] = 0;
  assert_string_equal(shown.data, expected);
  nk_buffer_free(&shown);
  plot_glyphs_free(&glyphs);
}

static void cells_are_shown_so_that_a_reader_sees_what_is_there(void **state) {
  (void)state;
  assert_shown(" a b  ", NULL, 0, "\u2423a b\u2423\u2423");
  assert_shown(" ", "2423", 0, "\u2423");
  assert_shown(" ", "", 0, "\u00B7"); /* no font has U+2423 */
  assert_shown("\u202Eabc", NULL, 0, "\\u{202e}abc");
  assert_shown("a\u200Bb\xC2\x85\u2028", NULL, 0, "a\\u{200b}b\\u{85}\\u{2028}");
  assert_shown("\uFFFE\U0010FFFF", NULL, 0, "\\u{fffe}\\u{10ffff}"); /* not allowed in XML */
  assert_shown("\u65E5x", "41-5a 65e6-7000", 0, "\\u{65e5}x");
  assert_shown("\u65E5x", "41-5a 65e0-65e9\n7000", 0, "\u65E5x");
  assert_shown("\u0301x", NULL, 0, "\u25CC\u0301x");
  assert_shown("abcdef", NULL, 6, "abcdef");
  assert_shown("abcdefg", NULL, 6, "abcde\u2026");
  assert_shown("\u65E5\u65E5\u65E5", NULL, 4, "\u65E5\u2026"); /* two columns each */
  assert_shown("\xC3(", NULL, 0, "\\xc3(");
}

static void widths_follow_the_font_or_the_terminal(void **state) {
  (void)state;
  assert_near(plot_text_width("iW", false), 0.278 + 0.989);
  assert_near(plot_text_width("a\u65E5\u0301", true), 3);
}

/* gnuplot itself says what it makes of a text. */
static void a_text_reaches_gnuplot_as_it_is(void **state) {
  const char *texts[] = {
      "'; system(\"touch injected\")",
      "`touch injected`",
      "''",
      "'",
      "''' . system('x') . '''",
      "@Y_name $A {a}^b_c %s %d #",
      "\\n\\047\\",
      "=0 1\"",
      "\u65E5 \U0001F600",
      "a\"; !touch injected; \"",
      "",
  };
  struct nk_buffer script = {0}, expected = {0}, printed = {0};
  if (chdir(*state) != 0) fail_msg("no folder to work in");
  nk_buffer_text(&script, "set print '-'\nY_name = 'expanded'\n");
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    plot_script_text(&script, "T", texts[i]);
    nk_buffer_text(&script, "print T\n");
    nk_buffer_printf(&expected, "%s\n", texts[i]);
  }
  int code = plot_gnuplot(&script, &printed);
  if (code != NK_OK) fail_msg("%s", nk_error());
  nk_buffer_byte(&printed, 0);
  assert_string_equal(printed.data, expected.data);
  assert_int_equal(access("injected", F_OK), -1);
  nk_buffer_free(&script);
  nk_buffer_free(&expected);
  nk_buffer_free(&printed);
}

static void gnuplots_own_message_comes_back(void **state) {
  (void)state;
  struct nk_buffer script = {0}, picture = {0};
  nk_buffer_text(&script, "plot no_such_function(x)\n");
  assert_int_equal(plot_gnuplot(&script, &picture), NK_EIO);
  assert_non_null(strstr(nk_error(), "undefined function: no_such_function"));
  char *path = strdup(getenv("PATH"));
  setenv("PATH", "/nowhere", 1);
  assert_int_equal(plot_gnuplot(&script, &picture), NK_EIO);
  assert_non_null(strstr(nk_error(), "gnuplot is not installed"));
  setenv("PATH", path, 1);
  free(path);
  nk_buffer_free(&script);
  nk_buffer_free(&picture);
}

/* ---- Labels ---- */

enum { MANY = 60 };

static bool boxes_overlap(const struct plot_box *a, const struct plot_box *b) {
  return a->x0 < b->x1 && b->x0 < a->x1 && a->y0 < b->y1 && b->y0 < a->y1;
}

/* A crowd of points, some on one spot, with labels of all widths. */
static void make_labels(struct plot_label *labels, size_t n, uint64_t seed) {
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 0);
  for (size_t i = 0; i < n; i++) {
    bool crowd = i % 3 == 0;
    labels[i] = (struct plot_label){
        .x = crowd ? 700 + 5 * nki_random_uniform(&random) : 800 * nki_random_uniform(&random),
        .y = crowd ? 20 : 500 * nki_random_uniform(&random),
        .width = 10 + 150 * nki_random_uniform(&random),
        .height = 16,
    };
  }
}

static void labels_overlap_nothing_and_stay_inside(void **state) {
  (void)state;
  const struct plot_box taken[] = {{100, 100, 300, 300}, {790, 0, 800, 500}};
  struct plot_placing placing = {.frame = {0, 0, 800, 500}, .taken = taken, .n_taken = 2, .gap = 8};
  size_t placed = 0, all = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    struct plot_label labels[MANY], again[MANY];
    size_t n = 1 + 3 * (size_t)seed;
    make_labels(labels, n, seed);
    memcpy(again, labels, sizeof labels);
    assert_int_equal(plot_labels_place(labels, n, &placing), 0);
    assert_int_equal(plot_labels_place(again, n, &placing), 0);
    for (size_t i = 0; i < n; i++) {
      all++;
      assert_int_equal(labels[i].placed, again[i].placed);
      if (!labels[i].placed) continue;
      placed++;
      const struct plot_box *box = &labels[i].box;
      assert_memory_equal(box, &again[i].box, sizeof *box);
      assert_near(box->x1 - box->x0, labels[i].width);
      assert_true(box->x0 >= 0 && box->y0 >= 0 && box->x1 <= 800 && box->y1 <= 500);
      for (size_t k = 0; k < 2; k++) assert_false(boxes_overlap(box, &taken[k]));
      for (size_t k = 0; k < i; k++)
        if (labels[k].placed) assert_false(boxes_overlap(box, &labels[k].box));
    }
  }
  assert_true(placed > all * 95 / 100);
}

static void a_lonely_label_stands_beside_its_point_without_a_line(void **state) {
  (void)state;
  struct plot_label label = {.x = 400, .y = 250, .width = 80, .height = 16};
  struct plot_placing placing = {.frame = {0, 0, 800, 500}, .gap = 8};
  assert_int_equal(plot_labels_place(&label, 1, &placing), 0);
  assert_true(label.placed && !label.leader);
  assert_true(label.box.x0 > 400 && label.box.x0 < 420);
}

static void a_label_without_room_is_not_placed(void **state) {
  (void)state;
  struct plot_label label = {.x = 5, .y = 5, .width = 80, .height = 16};
  struct plot_placing placing = {.frame = {0, 0, 60, 500}, .gap = 8};
  assert_int_equal(plot_labels_place(&label, 1, &placing), 0);
  assert_false(label.placed);
}

static void names_in_a_column_move_apart_and_keep_their_order(void **state) {
  (void)state;
  double centres[] = {100, 101, 300, 99};
  assert_int_equal(plot_spread(centres, 4, 20, 0, 400), 0);
  assert_near(centres[3], 80); /* three about their mean, 100 */
  assert_near(centres[0], 100);
  assert_near(centres[1], 120);
  assert_near(centres[2], 300);
  double low[] = {1, 2};
  assert_int_equal(plot_spread(low, 2, 20, 0, 400), 0);
  assert_near(low[0], 0);
  assert_near(low[1], 20);
}

/* ---- From the table ---- */

static struct cli_frame *frame_of(const char *folder, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/table.tsv", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
  struct cli_frame *frame = cli_frame_read(path);
  if (frame == NULL) fail_msg("%s", nk_error());
  return frame;
}

static void count_warnings(const char *message, void *user) {
  (void)message;
  ++*(int *)user;
}

static const char *const table =
    "id\tx\ty\tg\tsteps\n"
    "0\t1\t1\tb\t0\n"
    "1\t\t2\tb\t5\n"
    "2\t2\tnan\ta\t9\n"
    "3\t-3\t3\ta\t0\n"
    "4\t4\tinf\tb\t1\n"
    "5\t5\t5\ta\t12\n";

static void rows_that_cannot_be_drawn_are_left_out_with_a_warning_each(void **state) {
  struct cli_frame *frame = frame_of(*state, table);
  struct plot_rows rows;
  struct plot plot = {.x = "x", .y = "y", .by = "g", .mark = "steps=0"};
  int warnings = 0;
  nk_on_warning(count_warnings, &warnings);
  assert_int_equal(plot_rows_collect(&rows, &plot, frame, PLOT_X | PLOT_Y), 0);
  assert_int_equal(warnings, 2); /* one missing, two not finite */
  assert_int_equal(rows.n, 3);
  assert_int_equal(rows.n_groups, 2);
  assert_string_equal(rows.group_names[0], "b"); /* in the order in which they come */
  assert_int_equal(rows.n_marked, 2);
  assert_true(rows.marked[0] && rows.marked[1] && !rows.marked[2]);
  plot_rows_free(&rows);
  plot.log_x = true;
  warnings = 0;
  assert_int_equal(plot_rows_collect(&rows, &plot, frame, PLOT_X | PLOT_Y), 0);
  assert_int_equal(warnings, 3);
  assert_int_equal(rows.n, 2);
  plot_rows_free(&rows);
  nk_on_warning(NULL, NULL);
  cli_frame_free(frame);
}

static void marks_are_comparisons_or_columns(void **state) {
  static const struct {
    const char *mark;
    size_t n;
  } cases[] = {{"steps", 4},   {"steps=0", 2},  {"steps!=0", 4}, {"steps<=5", 4},  {"steps<5", 3},
               {"steps>5", 2}, {"steps>=5", 3}, {"g=a", 3},      {"steps==0.0", 2}};
  struct cli_frame *frame = frame_of(*state, table);
  struct plot plot = {.x = "id"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct plot_rows rows;
    plot.mark = cases[i].mark;
    assert_int_equal(plot_rows_collect(&rows, &plot, frame, PLOT_X), 0);
    if (rows.n_marked != cases[i].n)
      fail_msg("%s marks %zu rows, not %zu", cases[i].mark, rows.n_marked, cases[i].n);
    plot_rows_free(&rows);
  }
  struct plot_rows rows;
  plot.mark = "g<a";
  assert_int_equal(plot_rows_collect(&rows, &plot, frame, PLOT_X), NK_EUSAGE);
  plot_rows_free(&rows);
  plot.mark = "nothing=1";
  assert_int_equal(plot_rows_collect(&rows, &plot, frame, PLOT_X), NK_ENOTFOUND);
  plot_rows_free(&rows);
  cli_frame_free(frame);
}

static void small_groups_are_joined_and_numbers_ascend(void **state) {
  struct cli_frame *frame = frame_of(*state, "x\tg\n1\t10\n2\t9\n3\t10\n4\t1e3\n5\t9\n6\t-1\n");
  struct plot plot = {.x = "x", .by = "g"};
  struct plot_rows rows;
  assert_int_equal(plot_rows_collect(&rows, &plot, frame, PLOT_X), 0);
  assert_true(rows.numeric_groups);
  assert_int_equal(rows.n_groups, 4);
  assert_string_equal(rows.group_names[0], "-1");
  assert_string_equal(rows.group_names[1], "9");
  assert_string_equal(rows.group_names[2], "10");
  assert_string_equal(rows.group_names[3], "1e3");
  assert_int_equal(plot_rows_join_groups(&rows, 3), 0);
  assert_int_equal(rows.n_groups, 3);
  assert_string_equal(rows.group_names[0], "9");
  assert_string_equal(rows.group_names[1], "10");
  assert_string_equal(rows.group_names[2], "other (2 groups)");
  const uint32_t expected[] = {1, 0, 1, 2, 0, 2};
  assert_memory_equal(rows.group, expected, sizeof expected);
  plot_rows_free(&rows);
  cli_frame_free(frame);
}

static void formats_are_told_by_suffix_or_name(void **state) {
  (void)state;
  assert_int_equal(plot_format_of("a/b.PNG"), PLOT_PNG);
  assert_int_equal(plot_format_of("svg"), PLOT_SVG);
  assert_int_equal(plot_format_of("x.tar.pdf"), PLOT_PDF);
  assert_int_equal(plot_format_of("x.jpeg"), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_are_linear_between_order_statistics),
      cmocka_unit_test(bins_follow_freedman_and_diaconis),
      cmocka_unit_test(whole_numbers_stand_in_the_middle_of_their_bins),
      cmocka_unit_test(the_last_bin_is_closed_and_values_outside_are_not_counted),
      cmocka_unit_test(a_single_value_has_one_bin_around_it),
      cmocka_unit_test(extremeness_is_in_median_absolute_deviations),
      cmocka_unit_test(density_is_one_at_the_densest_and_small_for_the_lonely),
      cmocka_unit_test(ticks_of_whole_numbers_are_whole),
      cmocka_unit_test(ticks_are_round_numbers_inside_the_range),
      cmocka_unit_test(an_axis_takes_its_ends_to_its_positions),
      cmocka_unit_test(cells_are_shown_so_that_a_reader_sees_what_is_there),
      cmocka_unit_test(widths_follow_the_font_or_the_terminal),
      cmocka_unit_test(a_text_reaches_gnuplot_as_it_is),
      cmocka_unit_test(gnuplots_own_message_comes_back),
      cmocka_unit_test(labels_overlap_nothing_and_stay_inside),
      cmocka_unit_test(a_lonely_label_stands_beside_its_point_without_a_line),
      cmocka_unit_test(a_label_without_room_is_not_placed),
      cmocka_unit_test(names_in_a_column_move_apart_and_keep_their_order),
      cmocka_unit_test(rows_that_cannot_be_drawn_are_left_out_with_a_warning_each),
      cmocka_unit_test(marks_are_comparisons_or_columns),
      cmocka_unit_test(small_groups_are_joined_and_numbers_ascend),
      cmocka_unit_test(formats_are_told_by_suffix_or_name),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
