'use strict';
// Writes a report into the directory that it is given, or throws.
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { page } = require('../src/index');

assert.strictEqual(page({ a: 1, b: 2 }), '<ul><li>b: 2 times</li><li>a: 1 time</li></ul>');
assert.strictEqual(page({}), '<ul></ul>');
fs.writeFileSync(path.join(process.argv[2], 'report.txt'), '2 checks\n');
