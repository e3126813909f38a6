// Paired tests of two models over the same units; those of `assay compare`, but that other signs are drawn.
"use strict";
const Statistics = (() => {
  const SIGN_PATTERNS = 10000;

  function logFactorials(n) {
    const table = new Float64Array(n + 1);
    for (let k = 2; k <= n; k += 1) table[k] = table[k - 1] + Math.log(k);
    return table;
  }

  /** Exact two-sided McNemar test: the discordant units fall either way equally often. */
  function mcnemar(onlyA, onlyB) {
    const n = onlyA + onlyB;
    if (n === 0) return 1;
    const logs = logFactorials(n);
    let tail = 0;
    for (let k = 0; k <= Math.min(onlyA, onlyB); k += 1) {
      tail += Math.exp(logs[n] - logs[k] - logs[n - k] - n * Math.LN2);
    }
    return Math.min(1, 2 * tail);
  }

  /** Whole numbers of 32 random bits. */
  function generator(seed) {
    let state = seed >>> 0;
    return () => {  // mulberry32
      state = (state + 0x6d2b79f5) >>> 0;
      let bits = Math.imul(state ^ (state >>> 15), 1 | state);
      bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
      return (bits ^ (bits >>> 14)) >>> 0;
    };
  }

  /** Two-sided: how often differences with signs drawn anew lie as far from zero; all patterns where they are few. */
  function signFlips(gaps) {
    const found = Math.abs(gaps.reduce((sum, gap) => sum + gap, 0)) * (1 - 1e-12);
    const all = 2 ** gaps.length <= SIGN_PATTERNS;
    const patterns = all ? 2 ** gaps.length : SIGN_PATTERNS;
    const random = generator(1);
    let extreme = 0;
    for (let draw = 0; draw < patterns; draw += 1) {
      let bits = draw;
      let sum = 0;
      for (let at = 0; at < gaps.length; at += 1) {
        if (!all && at % 32 === 0) bits = random();
        sum += (bits >>> at % 32) & 1 ? gaps[at] : -gaps[at];
      }
      extreme += Math.abs(sum) >= found;
    }
    return all ? extreme / patterns : (extreme + 1) / (patterns + 1);
  }

  const SCORES = { 1: 1, 0: 0, "-": null };

  /** The numbers of a column, one per unit: a text has one character per unit, 1, 0, or - where the unit does not count. */
  const scores = (column) => (typeof column === "string" ? Array.from(column, (letter) => SCORES[letter]) : column);

  /** Compare two columns (null: the unit does not count); null when there is nothing to compare. */
  function paired(columnA, columnB) {
    if (!columnA || !columnB || columnA.length === 0 || columnA.length !== columnB.length) return null;
    const b = scores(columnB);
    const gaps = [];
    let outcomes = true;
    scores(columnA).forEach((one, at) => {
      const other = b[at];
      if (one === null || other === null) return;
      outcomes &&= (one === 0 || one === 1) && (other === 0 || other === 1);
      gaps.push(one - other);
    });
    if (gaps.length === 0) return null;
    const onlyA = gaps.filter((gap) => gap > 0).length;
    const onlyB = gaps.filter((gap) => gap < 0).length;
    return {
      test: outcomes ? "McNemar" : "sign flips",
      difference: gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length,
      p: outcomes ? mcnemar(onlyA, onlyB) : signFlips(gaps),
      n: gaps.length,
      onlyA,
      onlyB,
    };
  }

  return { mcnemar, paired };
})();
