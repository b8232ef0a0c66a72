#!/usr/bin/env node
// Nothing newer than the oldest Node.js with modules: one that cannot run the rest gets as far as saying so.
const [major, minor] = process.versions.node.split(".").map(Number);
const supported = major >= 24 || (major === 22 && minor >= 12);
const source = new URL("../cli/main.ts", import.meta.url);
const compiled = new URL("../dist/cli/main.js", import.meta.url);

function refuse(why) {
  console.error(`x1410: ${why}`);
  process.exitCode = 1;
}

if (!supported) {
  refuse(
    `needs Node.js 22.12 or a later 22, or 24 or later; this is ${process.versions.node}` +
      " (or run it by npx or npm inside a checkout, which brings its own)",
  );
} else {
  // A checkout has the sources, whose types Node.js strips; the package has them compiled.
  const checkout = process.getBuiltinModule("node:fs").existsSync(source);
  if (checkout && !process.features.typescript) {
    refuse("a checkout needs the Node.js that npm ci installs in it: npx x1410, or npm start");
  } else {
    // What V8 has made of the code is kept beside it, where nobody else can put something in its place; where that is not writable, not.
    const cache = new URL("../build/compile-cache", import.meta.url);
    process
      .getBuiltinModule("node:module")
      .enableCompileCache(process.getBuiltinModule("node:url").fileURLToPath(cache));
    import(checkout ? source.href : compiled.href).then(
      async (cli) => {
        await cli.main(process.argv.slice(2));
        // All is done and told. Whatever a peer still holds open, say a connection that it has not answered, is not waited for.
        setTimeout(() => process.exit(), 2_000).unref();
      },
      (error) => refuse(`cannot be loaded, run npm ci or install it anew: ${error.message}`),
    );
  }
}
