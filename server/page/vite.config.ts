import { defineConfig } from "vite";

// Relative addresses, so that the page also works below a prefix. Nothing inline and no polyfill that would be:
// the page's policy allows neither.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../selsa_server/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2022",
    license: false,
  },
});
