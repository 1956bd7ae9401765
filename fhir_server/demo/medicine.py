"""What the demo's patients suffer from, are given, and have measured."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_server.demo.coding import HIV, PSY, RESTRICTED, Json


@dataclass(frozen=True, slots=True)
class Illness:
    """One illness: its code, who treats it, what is prescribed, and its labels."""

    icd10: str
    name: str
    department: str
    drugs: tuple[tuple[str, str, str], ...]  # ATC code or "", name, dosage
    labels: tuple[Json, ...] = ()
    lasting: bool = True


ILLNESSES = {
    "diabetes": Illness("E11.9", "2型糖尿病", "endocrinology", (("A10BA02", "二甲双胍片", "0.5g 口服 每日两次"),)),
    "hypertension": Illness("I10", "原发性高血压", "cardiology", (("C08CA01", "氨氯地平片", "5mg 口服 每日一次"),)),
    "coronary": Illness(
        "I25.1", "冠状动脉粥样硬化性心脏病", "cardiology", (("B01AC06", "阿司匹林肠溶片", "100mg 口服 每日一次"),)
    ),
    "hyperlipidaemia": Illness(
        "E78.5", "高脂血症", "cardiology", (("C10AA05", "阿托伐他汀钙片", "20mg 口服 每晚一次"),)
    ),
    "gastritis": Illness("K29.7", "胃炎", "internal", (("A02BC01", "奥美拉唑肠溶胶囊", "20mg 口服 每日一次"),)),
    "backache": Illness("M54.5", "下背痛", "acupuncture", (("", "独活寄生丸", "9g 口服 每日两次"),)),
    "cold": Illness(
        "J06.9", "急性上呼吸道感染", "internal", (("", "连花清瘟胶囊", "4粒 口服 每日三次"),), lasting=False
    ),
    "depression": Illness(
        "F32.9", "抑郁发作", "psychiatry", (("N06AB06", "舍曲林片", "50mg 口服 每日一次"),), (RESTRICTED, PSY)
    ),
    "hiv": Illness(
        "B24", "人类免疫缺陷病毒病", "infection", (("J05AF07", "替诺福韦片", "300mg 口服 每日一次"),), (RESTRICTED, HIV)
    ),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity that is measured: LOINC code, Chinese name, UCUM unit, usual range, digits behind the point."""

    loinc: str
    name: str
    unit: str
    low: float
    high: float
    digits: int


VITALS = (
    Measured("8867-4", "心率", "/min", 60, 100, 0),
    Measured("8310-5", "体温", "Cel", 36.1, 37.2, 1),
    Measured("29463-7", "体重", "kg", 48, 82, 1),
)
CHILD_WEIGHT = Measured("29463-7", "体重", "kg", 18, 42, 1)
PRESSURE = (Measured("8480-6", "收缩压", "mm[Hg]", 100, 139, 0), Measured("8462-4", "舒张压", "mm[Hg]", 60, 89, 0))
LABS = (
    Measured("14749-6", "葡萄糖", "mmol/L", 3.9, 6.1, 2),
    Measured("4548-4", "糖化血红蛋白", "%", 4.0, 6.0, 1),
    Measured("14682-9", "肌酐", "umol/L", 57, 111, 0),
    Measured("2951-2", "钠", "mmol/L", 137, 147, 0),
    Measured("2823-3", "钾", "mmol/L", 3.5, 5.3, 2),
    Measured("14647-2", "总胆固醇", "mmol/L", 3.1, 5.7, 2),
)
CD4 = Measured("24467-3", "CD4阳性T淋巴细胞计数", "/uL", 404, 1612, 0)
# What an illness drives out of the usual range.
RAISED = {"14749-6": "diabetes", "4548-4": "diabetes", "8480-6": "hypertension", "8462-4": "hypertension"}
RAISED |= {"14647-2": "hyperlipidaemia"}
