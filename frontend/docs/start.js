/* Shows the API's own description. A file, because the page's policy allows no script inline. */
"use strict";
/* global SwaggerUIBundle */
SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("docs"),
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
