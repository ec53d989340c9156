/* Axes: the map from data to positions, ticks at round numbers and their texts. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plot/internal.h"

double plot_axis_position(const struct plot_axis *axis, double value) {
  double part = axis->log ? log(value / axis->lo) / log(axis->hi / axis->lo)
                          : (value - axis->lo) / (axis->hi - axis->lo);
  return axis->from + part * (axis->to - axis->from);
}

void plot_axis_pad(struct plot_axis *axis, double margin) {
  if (axis->log) {
    double factor = axis->lo == axis->hi ? 2 : pow(axis->hi / axis->lo, margin);
    axis->lo /= factor;
    axis->hi *= factor;
  } else {
    double add = (axis->hi - axis->lo) * margin;
    if (axis->hi - axis->lo <= 1e-12 * fmax(fabs(axis->lo), fabs(axis->hi)) || add == 0)
      add = axis->lo == 0 ? 0.5 : fabs(axis->lo) * 0.05;
    axis->lo -= add;
    axis->hi += add;
  }
}

/* ---- Texts of numbers ---- */

static const char *const superscript[10] = {
    "\u2070", "\u00B9", "\u00B2", "\u00B3", "\u2074",
    "\u2075", "\u2076", "\u2077", "\u2078", "\u2079",
};

static void append(char *out, size_t size, const char *text) {
  size_t used = strlen(out);
  if (used + strlen(text) + 1 <= size) memcpy(out + used, text, strlen(text) + 1);
}

static void append_exponent(char *out, size_t size, int exponent) {
  char digits[16];
  snprintf(digits, sizeof digits, "%d", exponent < 0 ? -exponent : exponent);
  append(out, size, exponent < 0 ? "10⁻" : "10");
  for (const char *d = digits; *d; d++) append(out, size, superscript[*d - '0']);
}

/* Groups the digits before the point in threes: "12500" becomes "12,500". */
static void group_digits(const char *plain, char *out, size_t size) {
  size_t sign = plain[0] == '-', whole = strspn(plain + sign, "0123456789"), used = 0;
  for (size_t i = 0; plain[i] && used + 3 < size; i++) {
    size_t left = i < sign + whole ? sign + whole - i : 0;
    if (i > sign && left > 0 && left % 3 == 0) out[used++] = ',';
    if (plain[i] == '-') { /* U+2212, as wide as a plus */
      memcpy(out + used, "−", 3);
      used += 3;
    } else {
      out[used++] = plain[i];
    }
  }
  out[used] = 0;
}

void plot_number_text(double value, double step, char *out, size_t size) {
  out[0] = 0;
  double size_of_value = fabs(value);
  if (size_of_value < step * 1e-9) {
    append(out, size, "0");
    return;
  }
  char plain[64];
  if (size_of_value >= 1e7 || step < 1e-5) { /* a mantissa with the digits that the step needs */
    int exponent = (int)floor(log10(size_of_value) + 1e-12);
    double mantissa = value / pow(10, exponent), mantissa_step = step / pow(10, exponent);
    int digits = (int)fmin(fmax(0, -floor(log10(mantissa_step) + 1e-9)), 9);
    snprintf(plain, sizeof plain, "%.*f", digits, mantissa);
    if (strcmp(plain, "1") != 0) {
      group_digits(plain, out, size);
      append(out, size, "×");
    }
    append_exponent(out, size, exponent);
    return;
  }
  int digits = (int)fmin(fmax(0, -floor(log10(step) + 1e-9)), 9);
  snprintf(plain, sizeof plain, "%.*f", digits, value);
  group_digits(plain, out, size);
}

/* ---- Ticks ---- */

static void add_tick(struct plot_axis *axis, double at, double step) {
  struct plot_ticks *ticks = &axis->ticks;
  double slack = axis->log ? 0 : 1e-9 * (axis->hi - axis->lo);
  if (ticks->n == PLOT_MAX_TICKS || at < axis->lo - slack || at > axis->hi + slack) return;
  ticks->at[ticks->n] = at;
  plot_number_text(at, step, ticks->text[ticks->n], sizeof ticks->text[0]);
  ticks->n++;
}

/* The smallest of 1, 2, 5 times a power of ten that is at least x > 0. */
static double round_up(double x) {
  double power = pow(10, floor(log10(x)));
  double mantissa = x / power;
  return power * (mantissa <= 1 + 1e-9   ? 1
                  : mantissa <= 2 + 1e-9 ? 2
                  : mantissa <= 5 + 1e-9 ? 5
                                         : 10);
}

static void linear_ticks(struct plot_axis *axis, size_t wanted) {
  double step = round_up((axis->hi - axis->lo) / (double)(wanted > 0 ? wanted : 1));
  if (axis->whole) step = fmax(step, 1);
  double first = ceil(axis->lo / step - 1e-9);
  for (size_t i = 0; i < PLOT_MAX_TICKS; i++) {
    double at = (first + (double)i) * step;
    if (at > axis->hi + 1e-9 * step) break;
    add_tick(axis, at, step);
  }
}

/* Powers of ten: every k-th where they are many, with 2 and 5 times them where they are few. */
static void log_ticks(struct plot_axis *axis, size_t wanted) {
  double decades = log10(axis->hi / axis->lo);
  int first = (int)floor(log10(axis->lo)), last = (int)ceil(log10(axis->hi));
  int every = (int)ceil(decades / (double)(wanted > 1 ? wanted : 1));
  if (every < 1) every = 1;
  while (first % every != 0) first--;
  bool fine = decades * 3 <= (double)wanted && decades < 4;
  for (int exponent = first; exponent <= last; exponent += every) {
    double power = pow(10, exponent);
    for (int i = 0; i < (fine ? 3 : 1); i++) {
      size_t n = axis->ticks.n;
      add_tick(axis, power * (i == 0 ? 1 : i == 1 ? 2 : 5), power);
      if (axis->ticks.n == n || (exponent >= -3 && exponent <= 5)) continue;
      if (i == 0) { /* shorter than the digits */
        axis->ticks.text[n][0] = 0;
        append_exponent(axis->ticks.text[n], sizeof axis->ticks.text[n], exponent);
      }
    }
  }
}

void plot_axis_ticks(struct plot_axis *axis, size_t wanted) {
  axis->ticks.n = 0;
  if (axis->log) log_ticks(axis, wanted);
  if (axis->ticks.n >= (axis->log ? 2U : 1U)) return;
  axis->ticks.n = 0;
  linear_ticks(axis, wanted);
}
