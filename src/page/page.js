// Shows the document beside the page. Nothing is sent to a validator, or anywhere else than to this server.
"use strict";

window.addEventListener("load", () => {
  const page = document.getElementById("page");
  SwaggerUIBundle({
    url: page.dataset.docs,
    domNode: page,
    deepLinking: true,
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    docExpansion: "list",
    tryItOutEnabled: false,
    validatorUrl: null,
    onComplete: () => {
      const title = page.querySelector(".info .title");
      if (title && title.firstChild) {
        document.title = title.firstChild.textContent;
      }
    },
  });
});
