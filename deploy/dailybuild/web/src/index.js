'use strict';
const { table } = require('./table');

exports.page = (tally) => `<ul>${table(tally).map((row) => `<li>${row}</li>`).join('')}</ul>`;
