/* Command lines. A tool describes its options in a table; the options that every tool has (-o,
 * --json, --threads, --seed, -q, -h, --help, --version) are added to it here. Long options take
 * `--name VALUE` and `--name=VALUE`, may be cut short where that is unambiguous, and may stand
 * anywhere among the operands; `--` ends them. */
#ifndef NOKEN_OPTIONS_H
#define NOKEN_OPTIONS_H

#include <noken/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nk_option_type {
  NK_OPTION_FLAG,   /* target: bool, set true */
  NK_OPTION_STRING, /* target: const char *, points into argv */
  NK_OPTION_SIZE,   /* target: size_t, a whole number >= 0 */
  NK_OPTION_SEED,   /* target: uint64_t */
  NK_OPTION_NUMBER, /* target: double, finite */
  NK_OPTION_LIST,   /* target: struct nk_strings; each use appends */
  NK_OPTION_CHOICE, /* target: int, the index in choices ("input|output|position") */
};

/* Strings that an option gathered; they point into argv, the array is freed by nk_strings_free. */
struct nk_strings {
  const char **item;
  size_t n;
};

struct nk_option {
  char letter;      /* 'o', or 0 for none */
  const char *name; /* "output", or NULL for none */
  enum nk_option_type type;
  void *target;
  const char *argument; /* "FILE", for the help; NK_OPTION_CHOICE: "input|output|position" */
  const char *help;     /* one line */
};

/* Every tool's own options; its defaults are seed 0 and the machine's own number of threads. */
struct nk_common {
  const char *output; /* NULL: standard output */
  bool json;
  size_t threads; /* 0: as the machine has */
  uint64_t seed;
  bool quiet;
  bool help;    /* --help was asked for */
  bool version; /* --version was asked for */
};

struct nk_tool {
  const char *name;    /* "nk-stats" */
  const char *summary; /* one line: "norms and distances of every row of a vector set" */
  const char *usage;   /* what follows the name: "[OPTION]... [SET]" */
  const struct nk_option *options;
  size_t n_options;
  const char *example; /* a line that works */
};

/* Reads argv. *operands gets what is no option, in its order: [*n_operands], free with nk_free.
 * Returns 0, or NK_EUSAGE with a message ("unknown option '--foo'"); operands are set either way.
 */
int nk_options_parse(const struct nk_tool *tool, struct nk_common *common, int argc, char **argv,
                     char ***operands, size_t *n_operands);
/* The help text of the tool, at most 80 columns wide. */
void nk_options_help(const struct nk_tool *tool, struct nk_buffer *out);
void nk_strings_free(struct nk_strings *strings);

/* "0.5,0.9,0.99" and "3,10-20" as arrays, for options that take lists. Free *out with nk_free.
 * Return 0 or NK_EUSAGE naming the bad item; `what` is the option's name for the message. */
int nk_parse_numbers(const char *what, const char *text, double **out, size_t *n);
int nk_parse_ids(const char *what, const char *text, int64_t **out, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
