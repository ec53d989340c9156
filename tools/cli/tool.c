/* The shared part of every tool's main. */
#include "cli/tool.h"

#include "cli/kernels.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- Warnings and progress on standard error ---- */

struct screen {
  const char *name;
  double begun;   /* seconds, when the present work began */
  double written; /* seconds, when a line was last written */
  bool shown;     /* a progress line stands on the terminal */
};

static struct screen screen;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void clear_progress(struct screen *s) {
  if (s->shown) fputs("\r\033[K", stderr);
  s->shown = false;
}

static void show_warning(const char *message, void *user) {
  struct screen *s = user;
  clear_progress(s);
  fprintf(stderr, "%s: warning: %s\n", s->name, message);
}

/* Shown from two seconds on, five times a second. */
static int show_progress(const char *what, size_t done, size_t total, void *user) {
  struct screen *s = user;
  double t = now();
  if (done == 0 || s->begun == 0) s->begun = t;
  if (done >= total) {
    clear_progress(s);
    s->begun = 0;
  } else if (t - s->begun > 2 && t - s->written > 0.2) {
    double rest = done ? (t - s->begun) * (double)(total - done) / (double)done : 0;
    fprintf(stderr, "\r%s: %s: %.0f%%, %.0f s to go\033[K", s->name, what,
            100.0 * (double)done / (double)total, rest);
    s->written = t;
    s->shown = true;
  }
  return 0;
}

/* ---- Beginning and end ---- */

static void print_and_exit(const struct cli_run *run) {
  struct nk_buffer text = {0};
  if (run->common.help) {
    cli_options_help(run->tool, &text);
  } else {
    nk_buffer_printf(&text, "%s (noken) %s\n", run->tool->name, nk_version());
    cli_describe_kernels(&text);
  }
  struct nk_output *output = nk_output_open(NULL, NK_OUTPUT_TEXT);
  int code = output ? nk_output_write(output, text.data, text.size) : NK_EMEMORY;
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_buffer_free(&text);
  exit(cli_end(run, code));
}

void cli_begin(struct cli_run *run, const struct cli_tool *tool, int argc, char **argv,
               size_t min_operands, size_t max_operands) {
  cli_start_with_fast_kernels(argv);
  *run = (struct cli_run){.tool = tool, .argc = argc, .argv = argv};
  signal(SIGPIPE, SIG_IGN); /* a closed pipe comes back from write, and cli_end ends quietly */
  int code = cli_options_parse(tool, &run->common, argc, argv, &run->operands, &run->n_operands);
  if (run->common.help || (code == NK_OK && run->common.version)) print_and_exit(run);
  if (code == NK_OK && (run->n_operands < min_operands || run->n_operands > max_operands))
    code = nk_fail(NK_EUSAGE, "%s; usage: %s %s",
                   run->n_operands < min_operands ? "an operand is missing" : "too many operands",
                   tool->name, tool->usage);
  if (code != NK_OK) exit(cli_end(run, code));
  if (run->common.threads > 0) nk_set_threads(run->common.threads);
  if (run->common.quiet) return;
  screen.name = tool->name;
  nk_on_warning(show_warning, &screen);
  if (isatty(STDERR_FILENO)) nk_on_progress(show_progress, &screen);
}

const char *cli_operand(const struct cli_run *run, size_t i) {
  return i < run->n_operands ? run->operands[i] : "-";
}

struct nk_output *cli_output(const struct cli_run *run, int kind) {
  return nk_output_open(run->common.output, kind);
}

struct cli_table *cli_new_table(const struct cli_run *run, struct nk_output *output) {
  return cli_table_new(output, run->common.json ? CLI_TABLE_JSON : CLI_TABLE_TSV);
}

int cli_close(struct cli_table *table, struct nk_output *output, int code) {
  if (code == NK_OK)
    code = cli_table_finish(table);
  else
    cli_table_free(table);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

int cli_hint(int code, int when, const char *format, ...) {
  if (code == NK_OK || code != when) return code;
  char hint[512];
  va_list args;
  va_start(args, format);
  vsnprintf(hint, sizeof hint, format, args);
  va_end(args);
  return nk_fail(code, "%s (%s)", nk_error(), hint);
}

int cli_end(const struct cli_run *run, int code) {
  clear_progress(&screen);
  nk_free(run->operands);
  if (code == NK_OK) return 0;
  if (code == NK_EPIPE) { /* end as a program that does not ignore the signal */
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
  }
  fprintf(stderr, "%s: %s\n", run->tool->name, nk_error());
  return code == NK_EUSAGE ? 2 : 1;
}
