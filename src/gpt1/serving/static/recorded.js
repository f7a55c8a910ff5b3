// The answers of /v1/explain for one text, unpacked from what a page holds.

const LARGEST = 2 ** 24 - 1; // a weight of 1, in three bytes

/** Return the one endpoint that the views of a page ask; `held` is what inside_page.py wrote. */
export function recorded({ ids, texts, scores, alternatives, next, lens, attention, config }) {
  const bytes = atob(attention), triangle = (lens[0].length * (lens[0].length + 1)) / 2;
  const candidates = (list) => list.map(([id, probability, logit]) => ({ id, text: texts[id], probability, logit }));
  const all = {
    ids,
    positions: ids.map((id, n) => ({ id, text: texts[id], logprob: scores[n][0], rank: scores[n][1], alternatives: candidates(alternatives[n]) })),
    next: candidates(next),
    lens: lens.map((layer) => layer.map(candidates)),
  };

  /** Return the weights [from][to] of a head; of each only those before and at `from` are held. */
  function weights(layer, head) {
    const start = (layer * config.n_head + head) * triangle;
    const weight = (n) => (bytes.charCodeAt(3 * n) + 256 * bytes.charCodeAt(3 * n + 1) + 65536 * bytes.charCodeAt(3 * n + 2)) / LARGEST;
    return lens[0].map((_, from) => lens[0].map((_, to) => (to > from ? 0 : weight(start + (from * (from + 1)) / 2 + to))));
  }

  return {
    explain: async (model, source, { attention: asked = [] } = {}) => ({
      ...all,
      positions: all.positions.slice(0, source.ids?.length),
      attention: Object.fromEntries(asked.map(([layer, head]) => [`${layer}.${head}`, weights(layer, head)])),
    }),
  };
}
