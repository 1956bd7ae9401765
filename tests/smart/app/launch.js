// Where an app starts: by the EMR with iss and launch, or by itself with iss alone. What it asks for stands in the URL.
const asked = new URL(location.href).searchParams;
FHIR.oauth2
  .authorize({
    clientId: asked.get("client") ?? "chart",
    scope: asked.get("scope") ?? "launch openid fhirUser patient/Patient.rs patient/Observation.rs patient/Encounter.rs",
    redirectUri: "index.html",
    pkceMode: "required",
  })
  .catch((error) => {
    document.body.insertAdjacentHTML("beforeend", '<p id="failed"></p>');
    document.querySelector("#failed").textContent = error.message;
  });
