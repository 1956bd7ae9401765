// The app itself: shows what it was given and what it can read. `smart` is the library's client, for the test to go on.
const show = (id, text) => (document.querySelector(`#${id}`).textContent = text);
const nameOf = (patient) => patient.name?.[0]?.text ?? patient.id;

async function run() {
  const client = await FHIR.oauth2.ready();
  window.smart = client;
  show("scope", client.state.tokenResponse.scope);
  show("user", client.user.fhirUser ?? "");
  show("encounter", client.encounter.id ?? "");
  if (client.patient.id) {
    show("patient", nameOf(await client.patient.read()));
    const found = await client.request(`Observation?patient=${client.patient.id}&_sort=date`, { flat: true, pageLimit: 0 });
    show("observations", found.map((each) => each.valueString).join(" "));
  }
  show("state", "ready");
}

run().catch((error) => {
  show("state", "failed");
  show("scope", error.message);
});
