/* Command lines. A tool describes its own options in an array of struct cli_option; the options
 * that every tool has (-o, --json, --threads, --seed, -q, -h, --help, --version) are added to it
 * here.
 *
 *   -n 3, -n3       a short option with its value
 *   -qo FILE        short options together, the last one with a value
 *   --name VALUE    a long option; also --name=VALUE
 *   --na VALUE      a long option abbreviated to a prefix that no other option has
 *   --              the end of the options: what follows are operands
 *
 * Options and operands can be mixed in any order. "-" is an operand. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_option_type {
  CLI_OPTION_FLAG,   /* target: bool, set true */
  CLI_OPTION_STRING, /* target: const char *, points into argv */
  CLI_OPTION_SIZE,   /* target: size_t, a whole number from 0 to `most` */
  CLI_OPTION_SEED,   /* target: uint64_t */
  CLI_OPTION_NUMBER, /* target: double, finite */
  CLI_OPTION_LIST,   /* target: struct cli_strings; each use of the option appends a string */
  CLI_OPTION_CHOICE, /* target: int, the index of the value in `argument` ("l2|cosine") */
};

/* The values of a CLI_OPTION_LIST: pointers into argv. The array is freed by cli_strings_free. */
struct cli_strings {
  const char **item;
  size_t n;
};

void cli_strings_free(struct cli_strings *strings);

struct cli_option {
  char letter;      /* 'o', or 0 for none */
  const char *name; /* "output", or NULL for none */
  enum cli_option_type type;
  void *target;         /* where the value goes: its type is that of `type` */
  const char *argument; /* the value's name in the help, "FILE"; for a choice "l2|cosine" */
  const char *help;     /* what the option does, in one line */
  size_t most;          /* the largest value of a size; 0: CLI_MOST */
  const char *commands; /* "fit, score": of a tool whose first operand is a command, those that take
                         * the option, NULL: all */
};

/* The limit of a size that has no smaller one: more rows than any vocabulary has. */
enum { CLI_MOST = 1 << 24, CLI_MOST_THREADS = 1024 };

/* The values of the options that every tool has. All zero is the default. */
struct cli_common {
  const char *output; /* NULL: standard output */
  bool json;
  size_t threads; /* 0: one per core */
  uint64_t seed;
  bool quiet;
  bool help;
  bool version;
};

/* A tool as its command line and its help show it. */
struct cli_tool {
  const char *name;    /* "nk-stats" */
  const char *summary; /* one line: "norms and distances of every row of a vector set" */
  const char *usage;   /* what follows the name: "[OPTION]... [SET]" */
  const struct cli_option *options;
  size_t n_options;
  const char *example; /* a command line that works, or NULL */
  const char *folder;  /* what -o FOLDER is, of a tool that writes no file; or NULL */
};

/* Parses argv and sets the options' targets. *operands [*n_operands] are the arguments that are
 * neither options nor their values, in their order (pointers into argv); free the array with
 * nk_free, also after a failure. Returns NK_OK, or NK_EUSAGE ("unknown option '--foo'"; an option
 * that the command does not take). */
int cli_options_parse(const struct cli_tool *tool, struct cli_common *common, int argc, char **argv,
                      char ***operands, size_t *n_operands);

/* What an argument of a command line is. */
struct cli_word {
  const char *option; /* the name of the option that it is or is the value of; NULL: an operand, a
                       * "--", the tool */
  size_t begin;       /* where the option begins, above 0 after short ones in front of it */
  size_t value;       /* where its value begins, or an operand */
};
/* words [argc] = what the arguments of a command line that was parsed are. NK_OK or NK_EUSAGE. */
int cli_options_words(const struct cli_tool *tool, int argc, char *const *argv,
                      struct cli_word *words);

/* Appends the help of the tool: usage on the first line, summary on the second, then the options,
 * the example and the name of the manual page. Lines have at most 80 columns. */
void cli_options_help(const struct cli_tool *tool, struct nk_buffer *out);

/* Appends a line for each option, "--name ARGUMENT" and "-o ARGUMENT", and for each command that
 * the options name: what completion of command lines is made of. */
void cli_options_list(const struct cli_tool *tool, struct nk_buffer *out);

/* Parses "0.5,0.9,0.99" and "3,10-20" (both ends of a range are in it). *out [*n], free with
 * nk_free. Return NK_OK, or NK_EUSAGE naming the bad item; `option` ("--ids") is named in it. */
int cli_parse_numbers(const char *option, const char *text, double **out, size_t *n);
int cli_parse_ids(const char *option, const char *text, int64_t **out, size_t *n);
/* *value = the whole number that text is, with a sign or without. */
int cli_parse_integer(const char *option, const char *text, int64_t *value);

#endif
