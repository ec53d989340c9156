/* The table reader: TSV and JSON Lines. */
#include <string.h>
#include "cli/frame.h"

#include "fuzz.h"

const char *const fuzz_words[] = {
    "id",    "\t",     "\n",   "\r\n",    "{\"id\":",     "null",    "\\xff",
    "\\t",   "nan",    "-inf", "NaN",     "Infinity",     "NA",      "300.0",
    "1e400", "\"a\":", "}\n{", "\\u0000", "\xEF\xBB\xBF", "\\ud800", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  fuzz_memory_begin(size);
  struct cli_frame *frame = cli_frame_read(path);
  size_t rows = frame ? cli_frame_n_rows(frame) : 0;
  size_t columns = frame ? cli_frame_n_columns(frame) : 0;
  for (size_t column = 0; column < columns; column++) {
    const char *name = cli_frame_column_name(frame, column);
    fuzz_use(name, strlen(name));
    (void)cli_frame_column(frame, name);
    for (size_t row = 0; row < rows; row++) {
      const char *cell = cli_frame_cell(frame, row, column);
      fuzz_use(cell, strlen(cell));
      double number = 0;
      int64_t integer = 0;
      (void)cli_frame_number(frame, row, column, &number);
      (void)cli_frame_integer(frame, row, column, &integer);
      struct nk_buffer raw = {0};
      nk_unescape(&raw, cell, strlen(cell));
      nk_buffer_free(&raw);
    }
  }
  cli_frame_free(frame);
  fuzz_memory_end();
  return 0;
}
