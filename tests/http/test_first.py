from tests.live import Live


def test_a_stored_patient_is_read_and_found_again(server: Live) -> None:
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": "张", "given": ["三"]}]}
    server.put(patient)
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert doctor.get("Patient/p1").json()["name"] == patient["name"]
        assert doctor.get("Patient", params={"family": "张"}).json()["total"] == 1
    with server.client("practitioner", "Practitioner/dr2", "org2") as stranger:
        assert stranger.get("Patient/p1").status_code == 404
        assert stranger.get("Patient", params={"family": "张"}).json()["total"] == 0
