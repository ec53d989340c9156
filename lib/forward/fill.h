/* A verification prompt with tokens or texts in its slots. */
#ifndef NOKEN_FORWARD_FILL_H
#define NOKEN_FORWARD_FILL_H

#include "forward/probe.h"
#include "forward/repetition.h"

/* A token or a text. */
struct nki_item {
  const char *bytes; /* [n_bytes] its text; NULL: none */
  size_t n_bytes;
  struct nk_sequence answer; /* its tokens; none: the item is left out of all prompts */
};

/* What is put into which prompt. */
struct nki_filling {
  const struct nk_tokenizer *tokenizer; /* NULL: tokens, without `encoded` */
  const char *template;                 /* the prompt's text */
  const struct nki_prompt *prompt;
  const struct nki_item *items;
  size_t n;
  bool texts;         /* the items are texts: prompts are encoded with them; else tokens */
  size_t n_positions; /* of the model */
  size_t n_steps;
};

/* The items in one prompt. */
struct nki_filled {
  struct nki_repetition repetition;
  size_t *rows; /* [repetition.n] the item of each sequence */
  struct nk_sequence *sequences, *answers;
  int64_t *pool;   /* the sequences of tokens, one after the other */
  int64_t **whole; /* [n_whole] the prompts that were encoded with a text */
  size_t n_whole;
};

/* Fills the slots. Adds 1 to encoded [n] (or NULL) where the item's text in the slots gives its
 * tokens there. NK_OK or a negative code; nki_filled_free is due in either case. */
int nki_fill(const struct nki_filling *filling, size_t *encoded, struct nki_filled *filled);
void nki_filled_free(struct nki_filled *filled);

#endif
