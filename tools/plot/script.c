/* Variables, arrays and blocks of numbers for the templates. In a text every character but letters,
 * digits and spaces is written as an octal escape: a script then has no quotation mark, backquote
 * or macro sign of a token, which gnuplot's scanner would not treat the same everywhere. */
#include <ctype.h>
#include <math.h>

#include "plot/internal.h"

static void quoted(struct nk_buffer *script, const char *text) {
  nk_buffer_byte(script, '"');
  bool escape = false; /* gnuplot reads any number of digits: a digit after an escape is one too */
  for (; *text != 0; text++) {
    unsigned char c = (unsigned char)*text;
    bool plain = c == ' ' || c >= 0x80 || isalpha(c) || (isdigit(c) && !escape);
    escape = false;
    if (plain) {
      nk_buffer_byte(script, c);
    } else if (c < 0x20 || c == 0x7F) { /* those of tables are escaped by plot_display */
      nk_buffer_byte(script, ' ');
    } else {
      nk_buffer_printf(script, "\\%03o", c);
      escape = true;
    }
  }
  nk_buffer_byte(script, '"');
}

void plot_script_number(struct nk_buffer *script, const char *name, double value) {
  if (isfinite(value)) {
    nk_buffer_printf(script, "%s = %.17g\n", name, value);
  } else {
    nk_buffer_printf(script, "%s = NaN\n", name);
  }
}

void plot_script_text(struct nk_buffer *script, const char *name, const char *text) {
  nk_buffer_printf(script, "%s = ", name);
  quoted(script, text != NULL ? text : "");
  nk_buffer_byte(script, '\n');
}

/* NAME_n = n, and the array; gnuplot has no empty arrays: it has one element at least. */
static void array(struct nk_buffer *script, const char *name, size_t n) {
  nk_buffer_printf(script, "%s_n = %zu\narray %s[%zu]\n", name, n, name, n > 0 ? n : 1);
}

void plot_script_numbers(struct nk_buffer *script, const char *name, const double *values,
                         size_t n) {
  array(script, name, n);
  for (size_t i = 0; i < n; i++)
    nk_buffer_printf(script, "%s[%zu] = %.10g\n", name, i + 1, values[i]);
}

void plot_script_texts(struct nk_buffer *script, const char *name, char *const *texts, size_t n) {
  array(script, name, n);
  for (size_t i = 0; i < n; i++) {
    nk_buffer_printf(script, "%s[%zu] = ", name, i + 1);
    quoted(script, texts[i]);
    nk_buffer_byte(script, '\n');
  }
}

void plot_script_data(struct nk_buffer *script, const char *name) {
  nk_buffer_printf(script, "$%s << END_OF_DATA\n", name);
}

void plot_script_data_end(struct nk_buffer *script) {
  nk_buffer_text(script, "END_OF_DATA\n");
}
