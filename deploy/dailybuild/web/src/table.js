'use strict';
const { plural } = require('plural');

// Rows of text, the most frequent word first.
exports.table = (tally) =>
    Object.entries(tally)
        .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
        .map(([word, times]) => `${word}: ${plural(times, 'time')}`);
