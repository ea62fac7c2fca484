// What `make style` holds the JavaScript to; the Makefile installs the two packages and says in which versions.
import js from "@eslint/js";
import globals from "globals";

const AT_IMPORT = "Importing a module does nothing: let a script in pages/ call a function that does it.";
const OUTSIDE_OF_FUNCTIONS = ":not(:function *):not(:function)";

export default [
  { ignores: ["artifacts/", "build/", ".venv/", ".virtualenv/"] },
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: "error" }, languageOptions: { globals: globals.browser } },
  {
    // Work begins in functions; only pages/ starts any. The widget is one function, which the server calls.
    files: ["bx24app/static/**/*.js"],
    ignores: ["bx24app/static/pages/*.js", "bx24app/static/widget.js"],
    rules: {
      "no-restricted-syntax": [
        "error",
        { selector: "Program > :not(ImportDeclaration, ExportNamedDeclaration, VariableDeclaration, FunctionDeclaration, ClassDeclaration)", message: AT_IMPORT },
        { selector: `CallExpression${OUTSIDE_OF_FUNCTIONS}, AwaitExpression${OUTSIDE_OF_FUNCTIONS}`, message: AT_IMPORT },
        // An empty map does nothing; a ResizeObserver or a Worker would.
        { selector: `NewExpression[callee.name!=/^(Map|Set|WeakMap)$/]${OUTSIDE_OF_FUNCTIONS}`, message: AT_IMPORT },
      ],
    },
  },
];
