"""Word lists and sentence patterns of the synthetic subtitles. Imports nothing."""


def _words(text: str) -> list[str]:
    return text.split()


SLOTS: dict[str, list[str]] = {
    "person": _words(
        "小雨 老张 李姐 王总 阿明 妈妈 爸爸 师傅 小美 大刘 陈医生 林老师 姐姐 弟弟 奶奶 经理 "
        "隔壁阿姨 房东 小赵 老板"
    ),
    "thing": _words(
        "这件事 那份合同 明天的面试 期末考试 婚礼 房租 这台手术 那个项目 孩子的学费 下午的会 "
        "那封信 这道菜 回去的车票 店里的生意 家里的钥匙 这次比赛 新来的同事 那笔钱 这张照片 "
        "她的生日 搬家的事 那通电话 体检报告 晚上的演出"
    ),
    "action": _words(
        "去医院看看 把钱还清 跟她谈谈 早点回家 搬出去住 换个工作 给他打个电话 把门锁好 再等两天 "
        "请个假 学做饭 去机场接人 把话说清楚 重新开始 回老家住几天 签这个字 陪孩子写作业 "
        "坐下来吃饭 把东西收拾好 开车过去 见她一面 参加比赛 写完报告 出去走走"
    ),
    "when": _words("今天 明天 周末 下个月 今年 晚上 这几天 年底 中午 吃完饭 下班以后 过两天"),
    "past": _words("昨晚 刚才 上周 前天 早上 去年 那天 上个月 昨天下午 前几天"),
    "place": _words("医院 公司 学校 家里 车站 楼下 派出所 饭店 海边 办公室 超市 老房子 机场 厨房"),
}

PATTERNS: dict[str, list[str]] = {
    "questioning": [
        "你怎么还没{action}",
        "{thing}到底怎么样了",
        "{person}是不是已经{action}了",
        "谁让你{action}的",
        "你打算什么时候{action}",
        "{past}是谁去的{place}",
        "你说的是{thing}吗",
        "{person}为什么不肯{action}",
        "{thing}怎么会在{place}",
        "难道{person}{past}没去{place}",
        "你知道{person}{past}在哪儿吗",
        "是不是要{when}{action}",
    ],
    "agreeing": [
        "对，{thing}就该这样",
        "没错，是该{action}",
        "行，那就{when}{action}",
        "我同意，咱们{action}",
        "可以啊，{thing}听{person}的",
        "好，就按{person}说的办",
        "当然，我也想{action}",
        "是啊，{person}说得对",
        "好的，{when}我就{action}",
        "那就这么定了，{when}去{place}",
    ],
    "acknowledging": [
        "嗯，{thing}我知道了",
        "哦，原来{person}{past}在{place}",
        "知道了，我会{action}的",
        "明白，{thing}交给我",
        "这样啊，难怪{person}没{action}",
        "收到，{when}我去{place}",
        "好的，{thing}我记下了",
        "我听见了，你要{action}",
        "嗯嗯，{person}跟我说过{thing}",
        "原来是{thing}，我懂了",
    ],
    "encouraging": [
        "加油，{thing}你一定行",
        "别放弃，{thing}还有希望",
        "再试一次，{person}相信你",
        "你已经做得很好了，放心{action}",
        "勇敢一点，{when}就{action}",
        "{person}能行，你也能行",
        "相信自己，{thing}难不倒你",
        "坚持住，{when}就能{action}了",
        "大胆{action}，我支持你",
        "{thing}你准备了这么久，没问题的",
    ],
    "consoling": [
        "别难过，{thing}会过去的",
        "没事的，{person}不会怪你",
        "想哭就哭一会儿，{when}再{action}",
        "别担心，{thing}有我呢",
        "这不是你的错，{person}也没办法",
        "没关系，{when}还可以{action}",
        "放心，{person}会没事的",
        "慢慢来，{thing}不着急",
        "都会好起来的，{person}陪着你",
        "不要紧，{thing}谁都碰到过",
    ],
    "suggesting": [
        "要不咱们{when}{action}",
        "你还是先{action}比较好",
        "我觉得你应该{action}",
        "不如叫{person}一起{action}",
        "最好{when}去{place}问问{thing}",
        "你可以试试{action}",
        "依我看，{thing}先放一放",
        "干脆让{person}{action}",
        "还是{when}再说{thing}",
        "咱们{when}去{place}等{person}",
    ],
    "wishing": [
        "希望{thing}一切顺利",
        "真想{when}就{action}",
        "要是能{action}就好了",
        "祝{person}早日{action}",
        "但愿{person}能{action}",
        "我多想陪{person}去{place}",
        "盼着{when}能{action}",
        "愿{thing}有个好结果",
        "真希望{person}还在{place}",
        "什么时候能{action}就好了",
    ],
    "neutral": [
        "{person}{past}在{place}",
        "{thing}放在{place}了",
        "我{when}{action}",
        "{person}说要{action}",
        "{past}{person}来{place}谈{thing}",
        "{thing}是{person}办的",
        "他们已经{action}了",
        "我和{person}{past}说过{thing}",
        "{person}没有{action}",
        "{past}{place}里人很多",
        "我不会{action}的",
        "{person}{past}从{place}回来了",
    ],
}

# Words at the start of a sentence, and before a thing, that give an emotion away.
INTERJECTIONS: dict[str, list[str]] = {
    "happy": ["太好了", "哈哈", "真开心", "好极了", "嘿嘿", "太棒了"],
    "surprise": ["天哪", "什么", "不会吧", "哎呀", "我的天", "真没想到"],
    "sad": ["唉", "我好难受", "都怪我", "呜呜", "心里真苦", "算了"],
    "disgust": ["真恶心", "烦死了", "受不了", "呸", "讨厌", "看着就烦"],
    "anger": ["够了", "你给我听着", "岂有此理", "混账", "气死我了", "闭嘴"],
    "fear": ["糟了", "我好怕", "别过来", "嘘", "完了完了", "救命"],
    "neutral": [],
}
ADJECTIVES: dict[str, list[str]] = {
    "happy": ["开开心心的", "盼了好久的"],
    "surprise": ["突如其来的", "想不到的"],
    "sad": ["让人伤心的", "可怜的"],
    "disgust": ["恶心的", "没脸没皮的"],
    "anger": ["该死的", "岂有此理的"],
    "fear": ["可怕的", "吓人的"],
    "neutral": [],
}
