'use strict';

exports.plural = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;
