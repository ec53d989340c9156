/* What the mains share. */
#include "cli/tool.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/kernels.h"
#include "cli/signals.h"

/* ---- Standard error ---- */

static void clear_progress(struct cli_run *run) {
  if (run->progress.shown) fputs("\r\033[K", stderr);
  run->progress.shown = false;
}

static void show_warning(const char *message, void *user) {
  struct cli_run *run = user;
  clear_progress(run);
  cli_print_message(run->tool->name, "warning: ", message);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A line with the share done and the time left, from two seconds on, five times a second. A work
 * within another one, such as the forward passes of a search, is not shown. */
static int show_progress(const char *what, size_t done, size_t total, void *user) {
  struct cli_run *run = user;
  double t = now(), begun = run->progress.begun;
  if (begun > 0 && strcmp(run->progress.what, what) != 0) return 0;
  run->progress.what = what;
  if (done == 0 || begun == 0) run->progress.begun = begun = t;
  if (done >= total) {
    clear_progress(run);
    run->progress.begun = 0;
  } else if (t - begun > 2 && t - run->progress.written > 0.2) {
    double left = done > 0 ? (t - begun) * (double)(total - done) / (double)done : 0;
    fprintf(stderr, "\r%s: %s: %.0f%%, %.0f s left\033[K", run->tool->name, what,
            100.0 * (double)done / (double)total, left);
    run->progress.written = t;
    run->progress.shown = true;
  }
  return 0;
}

/* ---- Standard output ---- */

void cli_version(const char *name, struct nk_buffer *out) {
  nk_buffer_printf(out, "%s (noken) %s\n", name, nk_version());
  cli_describe_kernels(out);
  nk_describe_libraries(out);
  nk_buffer_byte(out, '\n');
  nk_buffer_printf(out, "Unicode %s in tokenizers' patterns\n", nk_unicode_version);
}

int cli_print(const struct nk_buffer *text) {
  if (text->failed) return nk_fail(NK_EMEMORY, "standard output: out of memory");
  struct nk_output *output = nk_output_open(NULL, NK_OUTPUT_TEXT);
  if (output == NULL) return nk_error_code();
  int code = nk_output_write(output, text->data, text->size);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

/* Is the regular file that `status` describes open as `file`, or at `path` (NULL: not asked)? */
static bool is_same_file(const struct stat *status, int file, const char *path) {
  struct stat other;
  if (path != NULL ? stat(path, &other) != 0 : fstat(file, &other) != 0) return false;
  return other.st_dev == status->st_dev && other.st_ino == status->st_ino;
}

/* Output that is appended to an input, or written over it, would change what is still to be read.
 * (A file of -o replaces the input when it is complete.) */
static int check_output(const struct cli_run *run) {
  const char *path = run->common.output;
  struct stat status;
  if (path != NULL && strcmp(path, "-") != 0) return NK_OK;
  if (fstat(STDOUT_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) return NK_OK;
  bool same = is_same_file(&status, STDIN_FILENO, NULL);
  for (size_t i = 0; i < run->n_operands && !same; i++)
    same = is_same_file(&status, -1, run->operands[i]);
  if (!same) return NK_OK;
  return nk_fail(NK_EUSAGE, "standard output is an input file: use -o FILE to replace it");
}

int cli_write_text(const struct cli_run *run, const struct nk_buffer *text,
                   struct nk_output *output) {
  const char *path = run->common.output;
  bool standard = path == NULL || strcmp(path, "-") == 0;
  if (text->failed) return nk_fail(NK_EMEMORY, "out of memory for the text");
  if (!standard || !isatty(STDOUT_FILENO)) return nk_output_write(output, text->data, text->size);
  struct nk_buffer shown = {0};
  for (size_t i = 0, length; i < text->size; i += length) {
    length = nk_utf8_length(text->data + i, text->size - i);
    if (length == 0) length = 1;
    if (text->data[i] == '\n' || text->data[i] == '\t' || text->data[i] == '\\')
      nk_buffer_byte(&shown, text->data[i]);
    else
      nk_escape(&shown, text->data + i, length);
  }
  int code = shown.failed ? nk_fail(NK_EMEMORY, "out of memory for the text")
                          : nk_output_write(output, shown.data, shown.size);
  nk_buffer_free(&shown);
  return code;
}

struct nk_output *cli_output(const struct cli_run *run, int kind) {
  return check_output(run) == NK_OK ? nk_output_open(run->common.output, kind) : NULL;
}

int cli_write_set(const struct cli_run *run, struct nk_vectors *set) {
  struct nk_output *output = NULL;
  int code = set == NULL ? nk_error_code() : cli_add_history(set, run->tool, run->argc, run->argv);
  if (code == NK_OK && (output = cli_output(run, NK_OUTPUT_BINARY)) == NULL) code = nk_error_code();
  if (code == NK_OK) code = nk_vectors_write(set, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

struct cli_table *cli_new_table(const struct cli_run *run, struct nk_output *output) {
  return cli_table_new(output, run->common.json ? CLI_TABLE_JSON : CLI_TABLE_TSV);
}

int cli_close(struct cli_table *table, struct nk_output *output, int code) {
  if (code == NK_OK && table != NULL)
    code = cli_table_finish(table);
  else
    cli_table_free(table);
  if (code == NK_OK && output != NULL) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

/* ---- Memory of jansson ---- */

/* jansson 2.14 does not notice that it could not store a byte of a string: without memory, the
 * process ends here. */
static const char *tool_name = "";

static void *allocate(size_t size) {
  void *block = malloc(size);
  if (block != NULL) return block;
  cli_print_message(tool_name, "", "out of memory for JSON");
  _exit(1);
}

/* ---- Beginning and end ---- */

static int print_help(const struct cli_run *run) {
  struct nk_buffer text = {0};
  cli_options_help(run->tool, &text);
  int code = cli_print(&text);
  nk_buffer_free(&text);
  return code;
}

static int print_options(const struct cli_run *run) {
  struct nk_buffer text = {0};
  cli_options_list(run->tool, &text);
  int code = cli_print(&text);
  nk_buffer_free(&text);
  return code;
}

static int print_version(const struct cli_run *run) {
  struct nk_buffer text = {0};
  cli_version(run->tool->name, &text);
  int code = cli_print(&text);
  nk_buffer_free(&text);
  return code;
}

static int check_operands(const struct cli_run *run, size_t least, size_t most) {
  const struct cli_tool *tool = run->tool;
  if (run->n_operands < least)
    return nk_fail(NK_EUSAGE, "missing operand; usage: %s %s", tool->name, tool->usage);
  if (run->n_operands > most)
    return nk_fail(NK_EUSAGE, "unexpected operand '%s'; usage: %s %s", run->operands[most],
                   tool->name, tool->usage);
  return NK_OK;
}

void cli_begin(struct cli_run *run, const struct cli_tool *tool, int argc, char **argv,
               size_t min_operands, size_t max_operands) {
  *run = (struct cli_run){.tool = tool, .argc = argc, .argv = argv};
  tool_name = tool->name;
  json_set_alloc_funcs(allocate, free);
  cli_catch_signals(tool->name); /* writing to a closed pipe returns NK_EPIPE: see cli_end */
  if (argc == 2 && strcmp(argv[1], "--list-options") == 0) exit(cli_end(run, print_options(run)));
  int code = cli_options_parse(tool, &run->common, argc, argv, &run->operands, &run->n_operands);
  if (run->common.help) exit(cli_end(run, print_help(run)));
  if (code == NK_OK && !run->common.version) code = check_operands(run, min_operands, max_operands);
  if (code != NK_OK) exit(cli_end(run, code));
  cli_start_with_fast_kernels(argv); /* from the beginning: nothing was read or written so far */
  if (run->common.version) exit(cli_end(run, print_version(run)));
  if (run->common.threads > 0) nk_set_threads(run->common.threads);
  if (run->common.quiet) return;
  nk_on_warning(show_warning, run);
  if (isatty(STDERR_FILENO)) nk_on_progress(show_progress, run);
}

const char *cli_operand(const struct cli_run *run, size_t i) {
  return i < run->n_operands ? run->operands[i] : "-";
}

const char *cli_operand_name(const struct cli_run *run, size_t i) {
  const char *path = cli_operand(run, i);
  return strcmp(path, "-") == 0 ? "standard input" : path;
}

int cli_end(struct cli_run *run, int code) {
  clear_progress(run);
  nk_on_warning(NULL, NULL);
  nk_on_progress(NULL, NULL);
  nk_free(run->operands);
  run->operands = NULL;
  if (code == NK_OK) return 0;
  if (code == NK_EPIPE) { /* end as a program that does not ignore the signal */
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
  }
  cli_print_message(run->tool->name, "", nk_error());
  return code == NK_EUSAGE ? 2 : 1;
}
