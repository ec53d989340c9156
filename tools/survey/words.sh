# What the report's words mean: lines of report.txt for its head and its end.

lead() {
  printf 'lead\t%s\n' "A glitch token is a token that training hardly showed, so that the model fails even to repeat it. A noken is a vector that belongs to no token, put in a token's place at a chosen distance from the real ones. This page measures what both do to this model."
}

in_short() {
  printf 'section\tshort\tIn short\ntext\t%s\n' 'Brackets hold an interval: where the number may be if the sample is drawn anew, at the level and by the method that stand below. The words are explained at the end.'
}

words() {
  printf 'section\twords\tWords\n'
  printf 'term\t%s\t%s\n' \
    token 'What a model reads and writes: a word, a part of a word or a byte. Its embedding is the vector that the model has for it.' \
    'ordinary token' 'A token that the model repeats when it is asked to.' \
    'glitch token' 'A token whose weights look untrained and that the model fails to repeat.' \
    noken 'A vector that belongs to no token.' \
    slot 'The place in a prompt where a token or noken is put: `{}`.' \
    distance 'How far a noken is from the middle of the ordinary tokens. Mahalanobis: in standard deviations of the tokens along its direction; Euclidean: the length of the difference; cosine: 1 less the cosine of the angle. k-NN: how far its nearest tokens are.' \
    direction 'The way from the middle to a noken. `isotropic`: any, all alike; `covariance`: drawn as the tokens spread; `difference`: that of two random tokens; `token`: towards a random token.' \
    'out of distribution' 'Said of what the model says next: unlike what it says after all but 5% of ordinary tokens in the same slot (a conformal p-value of at most 0.05).' \
    'KL divergence' 'How far the probabilities of the next token are from their mean after ordinary tokens, in nats; 0 is the same. Those after one ordinary token differ from the mean, too, most in prompts that ask to repeat it.' \
    'residual stream' 'The vectors that a model hands from each of its layers to the next, one at each position of the text.' \
    'false discovery rate' 'The share of a list that does not belong on it, in the mean. A q-value is the smallest rate at which a token is listed.'
}
