import { defineConfig } from "vite";

// Names without a hash: the files are part of the program, which is built from them by name.
export default defineConfig({
  build: {
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: { entryFileNames: "app.js", assetFileNames: "app[extname]" },
    },
  },
});
