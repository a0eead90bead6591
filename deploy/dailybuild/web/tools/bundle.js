'use strict';
// Puts the application and what it requires into one file, in the directory that it is given.
const fs = require('fs');
const path = require('path');

const web = path.dirname(__dirname);
const modules = new Map();

function add(file) {
    const name = path.relative(web, file);
    if (modules.has(name)) return name;
    modules.set(name, '');
    const code = fs.readFileSync(file, 'utf8').replace(/require\('([^']+)'\)/g, (_, wanted) => {
        const found = wanted.startsWith('.')
            ? path.join(path.dirname(file), `${wanted}.js`)
            : path.join(web, 'node_modules', wanted, 'index.js');
        return `load(${JSON.stringify(add(found))})`;
    });
    modules.set(name, code);
    return name;
}

const first = add(path.join(web, 'src', 'index.js'));
const parts = [...modules].map(([name, code]) => `${JSON.stringify(name)}(exports, load) {\n${code}}`);
const text = `'use strict';
const modules = {${parts.join(',\n')}};
const loaded = {};
function load(name) {
    if (!loaded[name]) modules[name]((loaded[name] = {}), load);
    return loaded[name];
}
module.exports = load(${JSON.stringify(first)});
`;
fs.writeFileSync(path.join(process.argv[2], 'web.js'), text);
