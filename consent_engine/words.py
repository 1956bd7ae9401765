"""What the engine says, in words for patients, doctors and privacy officers: Chinese first, and English.

Every value that an answer can have stands here once; a test holds the tables complete.
"""

from typing import NamedTuple, TypeAlias

from consent_engine.decision import Verdict
from consent_engine.enforcement import Status
from consent_engine.explanation import Statement
from consent_engine.reasons import Reason
from consent_engine.vocabulary import Mode


class Words(NamedTuple):
    """The same in two languages."""

    zh: str
    en: str


Said: TypeAlias = Verdict | Status | Mode | Reason

VERDICTS = {
    Verdict.PERMITS: Words("允许查阅", "permits"),
    Verdict.FORBIDS: Words("拒绝查阅", "forbids"),
    Verdict.UNREADABLE: Words(
        "无法执行，更正或终止之前拒绝一切查阅", "is unusable and forbids all until corrected or ended"
    ),
    Verdict.SILENT: Words("对此未作约定", "says nothing about this"),
}

STATUSES = {
    Status.ENFORCED: Words("已按内容执行", "enforced as it stands"),
    Status.IGNORED: Words("不参与判定", "takes no part"),
    Status.LAPSED: Words("已失效", "has lapsed"),
    Status.CONTRADICTORY: Words(
        "内容自相矛盾，更正或终止之前拒绝一切查阅", "contradicts itself; forbids all until corrected or ended"
    ),
    Status.UNSUPPORTED: Words(
        "含有系统不能理解的内容，该部分不作为许可", "has parts that are not understood; they permit nothing"
    ),
}

MODES = {
    Mode.DENY_OVERRIDES: Words("任何一份拒绝优先于许可", "a denial overrides permits"),
    Mode.NEWEST_WINS: Words("以最新的意思表示为准", "the newest statement wins"),
}

REASONS = {
    Reason.STATUS: Words("状态不是“生效”", "its status is not active"),
    Reason.SCOPE: Words("范围既不是隐私也不是科研", "its scope is neither privacy nor research"),
    Reason.RESEARCH: Words("仅用于科研，而本次用途不是科研", "it is for research, and this purpose is not"),
    Reason.LAPSED: Words(
        "签署人的代理权已终止（例如患者已满十八周岁）",
        "who gave it may no longer speak for the patient, who may be of age now",
    ),
    Reason.ENDED: Words("有效期已过", "its period is over"),
    Reason.AMBIGUOUS_SCOPE: Words("同时写有多个范围", "it names more than one scope"),
    Reason.IMPLICIT_RULES: Words("依据系统不了解的隐含规则", "it follows implicit rules that are not known here"),
    Reason.MODIFIER_EXTENSION: Words("含有可改变含义的未知扩展", "an unknown extension may change its meaning"),
    Reason.CONTRADICTION: Words(
        "基本规则与首个条款相互矛盾", "its base rule and its root provision contradict each other"
    ),
    Reason.BOTH_DIRECTIVES: Words("基本规则既允许又拒绝", "its base rule both permits and denies"),
    Reason.POLICY_RULE: Words("基本规则格式有误", "its base rule is malformed"),
    Reason.DEPTH: Words("条款嵌套过深", "its provisions are nested too deep"),
    Reason.NESTED: Words("下级条款格式有误", "its nested provisions are malformed"),
    Reason.WRONG_TYPE: Words("条款类型既不是允许也不是拒绝", "a provision neither permits nor denies"),
    Reason.MALFORMED: Words("内容格式有误", "a part of it is malformed"),
    Reason.PROXY: Words("无法确认签署人有权代表患者", "it is not known whether who gave it may speak for the patient"),
    Reason.EMPTY: Words("既未允许也未拒绝任何内容", "it neither permits nor denies anything"),
    Reason.NO_TYPE: Words("条款未写明允许还是拒绝", "the provision does not say whether it permits or denies"),
    Reason.UNKNOWN_ELEMENT: Words("含有未知的内容", "it has something that is not known here"),
    Reason.LIST: Words("应为非空列表", "it should be a list that is not empty"),
    Reason.REFERENCE: Words("引用未指明资源类型和编号", "a reference does not name a type and an id"),
    Reason.CODING: Words("编码缺少编码体系或代码", "a coding lacks its system or its code"),
    Reason.CONCEPT: Words("应为带编码的概念", "it should be a concept with codings"),
    Reason.PERIOD: Words("期间缺少起止日期", "a period has neither a start nor an end"),
    Reason.PERIOD_ORDER: Words("期间的结束早于开始", "a period ends before it starts"),
    Reason.DATE: Words("日期格式有误", "a date cannot be read"),
    Reason.ROLE: Words("参与者的角色未知", "the role of an actor is not known"),
    Reason.CUSTODIAN: Words("保管方不是机构", "a custodian is not an organization"),
    Reason.GROUP: Words("无法确认群组或团队的成员", "it is not known who belongs to a group or team"),
    Reason.PURPOSE: Words("用途未知", "a purpose is not known"),
    Reason.ACTION: Words("操作未知", "an action is not known"),
    Reason.CLASS: Words("资源类型未知", "a resource type is not known"),
    Reason.MEANING: Words("与数据的关系未知", "a relation to data is not known"),
    Reason.RELATED: Words("找不到所关联的记录", "the record that others are related to is not found"),
    Reason.LABEL: Words("安全标签未知", "a security label is not known"),
    Reason.OBLIGATION: Words("附加义务无法理解", "an obligation is not understood"),
    Reason.OBLIGED_DENIAL: Words("只有许可条款可以附加义务", "only a provision that permits can have an obligation"),
}


def words(said: Said) -> Words:
    """Return the words for one value.

    >>> words(Verdict.FORBIDS).zh
    '拒绝查阅'
    """
    match said:
        case Verdict():
            return VERDICTS[said]
        case Status():
            return STATUSES[said]
        case Mode():
            return MODES[said]
    return REASONS[said]


def told(statement: Statement) -> Words:
    """Return what one Consent said as a sentence.

    >>> told(Statement("c1", "2", Verdict.PERMITS, ("provision",), decides=True)).zh
    '同意书 c1（第 2 版）：允许查阅。条款：provision。'
    """
    verdict = words(statement.verdict)
    zh = f"同意书 {statement.consent}（第 {statement.version} 版）：{verdict.zh}。"
    en = f"Consent {statement.consent} (version {statement.version}) {verdict.en}."
    if statement.reason:
        zh, en = f"{zh}原因：{words(statement.reason).zh}。", f"{en} Reason: {words(statement.reason).en}."
    if paths := [path for path in statement.paths if path]:
        zh, en = f"{zh}条款：{'、'.join(paths)}。", f"{en} Provisions: {', '.join(paths)}."
    return Words(zh, en)
