/* What a ranking of a vocabulary rests on, as the table of nk-glitch --summary. */
#include <math.h>
#include <stdio.h>

#include "glitch/glitch.h"

/* What the list at level is worth, as a sentence. */
static void write_advice(const struct nk_glitch *glitch, double level, size_t reported,
                         struct cli_table *table) {
  const struct nk_glitch_basis *basis = &glitch->basis;
  char text[256];
  if (glitch->overlap)
    snprintf(text, sizeof text,
             "nothing is reported: the known rows lie among the others and do not show where "
             "never-seen rows are");
  else if (basis->n_beyond == 0)
    snprintf(text, sizeof text,
             "nothing is reported: the ranked rows do not lie apart from the known ones");
  else if (reported == 0)
    snprintf(
        text, sizeof text,
        "no token is reported at a false discovery rate of %g; the first ranks are candidates for "
        "nk-verify",
        level);
  else
    snprintf(
        text, sizeof text,
        "%zu tokens are reported%s: at most about %.0f of them are expected to be tokens that "
        "training showed in more than 10 steps; tokens seen in 1 to 10 steps can be missing",
        reported,
        basis->source == NK_SOURCE_EXTREME ? ", if the tightest extreme rows were never seen" : "",
        ceil(level * (double)reported));
  cli_table_string(table, text);
}

int glitch_write_summary(const struct glitch_tokens *t, struct cli_table *table) {
  static const char *const SOURCES[] = {
      [NK_SOURCE_KNOWN] = "known to be unused",
      [NK_SOURCE_SUSPECT] = "unused, unreachable or padding",
      [NK_SOURCE_SPECIAL] = "special tokens whose rows nearly coincide",
      [NK_SOURCE_EXTREME] = "closest together among the extreme rows; none are known"};
  const struct nk_glitch *glitch = t->glitch;
  const struct nk_glitch_basis *basis = &glitch->basis;
  const char *null = glitch->overlap        ? "none: the ball overlaps the rest, every p-value is 1"
                     : basis->n_beyond == 0 ? "none: no ball stands apart, every p-value is 1"
                                            : "ranked rows beyond the ball";
  double level = t->options.fdr >= 0 ? t->options.fdr : 0.05;
  size_t reported = 0, known = 0;
  for (size_t i = 0; i < glitch->n; i++) {
    reported += glitch->role[i] == NK_ROLE_TEXT && glitch->q_value[i] <= level;
    known += glitch->role[i] == NK_ROLE_UNUSED;
  }
  const struct {
    const char *name, *text;
    double number;
  } rows[] = {
      {"rows", NULL, (double)glitch->n},
      {"ranked", NULL, (double)glitch->n_ranked},
      {"known_unused", NULL, (double)known},
      {"ball_rows", NULL, (double)glitch->n_unused},
      {"ball_source", SOURCES[basis->source], 0},
      {"centre_rows", NULL, (double)basis->n_core},
      {"radius", NULL, basis->radius},
      {"edge", NULL, basis->edge},
      {"spread", NULL, basis->spread},
      {"overlap", NULL, basis->edge / basis->spread},
      {"overlap_limit", NULL, basis->overlap_limit},
      {"null_source", null, 0},
      {"null_rows", NULL, (double)basis->n_beyond},
      {"null_in_ball", NULL, basis->n_beyond > 0 ? basis->n_expected : (double)NAN},
      {"fdr", NULL, level},
      {"reported", NULL, (double)reported},
  };
  int code = cli_table_column(table, "property");
  if (code == NK_OK) code = cli_table_column(table, "value");
  for (size_t i = 0; i < sizeof rows / sizeof *rows && code == NK_OK; i++) {
    cli_table_string(table, rows[i].name);
    if (rows[i].text != NULL)
      cli_table_string(table, rows[i].text);
    else
      cli_table_number(table, rows[i].number);
    code = cli_table_end_row(table);
  }
  if (code != NK_OK) return code;
  cli_table_string(table, "conclusion");
  write_advice(glitch, level, reported, table);
  return cli_table_end_row(table);
}
