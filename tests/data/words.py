"""What cells of tables say in several languages, and the 8-bit encodings such tables come in."""

from __future__ import annotations

import random

WORDS: dict[str, str] = {
    "German": (
        "Müller Köln Straße Größe Übersicht Äpfel Zürich Fußgängerzone Präsident Jörg Schäfer "
        "Günther Weiß München Baden-Württemberg Öffnungszeiten Prüfung gültig Stück Gerät für "
        "und nicht verfügbar Änderung Lieferadresse Bestellung Rechnung Kunde Anzahl Tübingen "
        "Fläche"
    ),
    "French": (
        "Élodie Lefèvre Besançon Orléans Hôtel de Ville garçon forêt août réglé à payer été "
        "château Noël Île-de-France département région numéro téléphone prénom adresse "
        "quantité livré déjà reçu être où très Saint-Étienne Nîmes Mâcon crème brûlée "
        "français société"
    ),
    "Spanish": (
        "España Núñez Peña Muñoz Córdoba Málaga León año dirección teléfono número cantidad "
        "población señor niño García López Pérez Rodríguez Martínez Cádiz Logroño Jaén inglés "
        "información también está más aquí después página código descripción válido útil"
    ),
    "Polish": (
        "Łódź Kraków Wrocław Gdańsk Poznań Częstochowa Białystok Wójcik Lewandowski Zieliński "
        "Szymański Woźniak Kozłowski Jabłoński ulica miasto imię nazwisko liczba województwo "
        "małopolskie śląskie świętokrzyskie źródło żółty książka również sprzedaż zamówienie "
        "dostępność część"
    ),
    "Czech": (
        "Příjmení Jméno Město Praha Brno Plzeň České Budějovice Hradec Králové Ústí nad Labem "
        "Novák Dvořák Černý Procházka Kučera Veselý Horák Němec Pokorný Růžička ulice číslo "
        "žlutý kůň úpěl ďábelské ódy počet množství zboží objednávka dodávka měsíc týden "
        "středa"
    ),
    "Hungarian": (
        "Győr Székesfehérvár Pécs Nyíregyháza Kecskemét Szombathely Budapest megye település "
        "név cím összeg darab rendelés szállítás fizetés érvényes új régi kör utca Kovács "
        "Szabó Tóth Nagy Horváth Kiss Molnár Németh Balogh Lakatos gyümölcs hétfő őszi tűz "
        "könyv"
    ),
    "Russian": (
        "Москва Санкт-Петербург Новосибирск Екатеринбург Казань Нижний Новгород Челябинск "
        "Самара Иванов Петров Сидоров Кузнецова Смирнова имя фамилия город улица количество "
        "заказ доставка оплата действителен новый старый книга понедельник осень цена товар "
        "склад область район"
    ),
    "Bulgarian": (
        "София Пловдив Варна Бургас Русе Стара Загора Плевен Сливен Добрич Шумен Иванов "
        "Петрова Георгиев Димитрова Николов име фамилия град улица брой поръчка доставка "
        "плащане валиден нов стар книга понеделник есен цена стока склад област община"
    ),
    "Ukrainian": (
        "Київ Харків Одеса Дніпро Львів Запоріжжя Вінниця Чернігів Івано-Франківськ ім'я "
        "прізвище місто вулиця кількість замовлення доставка оплата дійсний новий понеділок "
        "осінь ціна їжак ґанок єдиний Шевченко Коваленко Бондаренко Ткаченко Кравченко"
    ),
    "Greek": (
        "Αθήνα Θεσσαλονίκη Πάτρα Ηράκλειο Λάρισα Βόλος Ιωάννινα όνομα επώνυμο πόλη οδός "
        "αριθμός ποσότητα παραγγελία πληρωμή ημερομηνία Παπαδόπουλος Γεωργίου Δημητρίου "
        "Νικολάου νέος παλιός βιβλίο Δευτέρα φθινόπωρο τιμή προϊόν αποθήκη περιοχή Κρήτη"
    ),
    "Turkish": (
        "İstanbul Ankara İzmir Diyarbakır Şanlıurfa Muğla Eskişehir Çanakkale Ağrı soyadı adı "
        "şehir sokak sayı sipariş ödeme geçerli yeni eski kitap salı sonbahar fiyat ürün "
        "Yılmaz Kaya Demir Çelik Şahin Yıldız Öztürk Aydın Doğan Güneş çağrı bölge"
    ),
    "Japanese": (
        "東京都 大阪市 名古屋市 札幌市 福岡県 京都府 山田太郎 鈴木花子 佐藤一郎 高橋 田中 "
        "渡辺 氏名 住所 電話番号 数量 注文 支払い 配送 有効 新しい 古い 本 月曜日 秋 価格 "
        "商品 倉庫 地域 カタカナ テーブル データ ソフトウェア 表示する ください "
        "ありがとうございます ひらがな 能力 予約 構成"
    ),
    "Chinese": (
        "北京市 上海市 广州市 深圳市 杭州市 成都市 张伟 王芳 李娜 刘洋 陈静 姓名 地址 电话 "
        "数量 订单 付款 配送 有效 新的 旧的 书籍 星期一 秋天 价格 商品 仓库 地区 有限公司 "
        "中国 我们的 可以 这个 没有 经济 发展 问题 工作 时间 技术 服务 管理"
    ),
    "Taiwanese": (
        "臺北市 高雄市 臺中市 臺南市 新竹市 陳怡君 林志明 黃雅婷 張家豪 姓名 地址 電話 數量 "
        "訂單 付款 配送 有效 新的 舊的 書籍 星期一 秋天 價格 商品 倉庫 地區 有限公司 我們的 "
        "可以 這個 沒有 經濟 發展 問題 工作 時間 技術 服務 管理 功能 許多 成功"
    ),
    "Korean": (
        "서울특별시 부산광역시 대구 인천 광주 대전 울산 김민준 이서연 박지훈 최수빈 이름 주소 "
        "전화번호 수량 주문 결제 배송 유효 새로운 오래된 책 월요일 가을 가격 상품 창고 지역 "
        "주식회사 대한민국 우리의 있습니다 없습니다 경제 발전 문제 시간 기술 서비스 관리"
    ),
}
"""By language: words separated by spaces."""

ENCODINGS: tuple[tuple[str, str], ...] = (
    *((language, "cp1252") for language in ("German", "French", "Spanish")),
    *((language, "iso8859-1") for language in ("German", "French", "Spanish")),
    *((language, "iso8859-15") for language in ("German", "French", "Spanish")),
    *((language, "mac-roman") for language in ("German", "French", "Spanish")),
    *((language, "cp1250") for language in ("Polish", "Czech", "Hungarian")),
    *((language, "iso8859-2") for language in ("Polish", "Czech", "Hungarian")),
    *((language, "cp1251") for language in ("Russian", "Bulgarian", "Ukrainian")),
    *((language, "iso8859-5") for language in ("Russian", "Bulgarian")),
    ("Russian", "koi8-r"),
    ("Ukrainian", "koi8-u"),
    ("Greek", "cp1253"),
    ("Greek", "iso8859-7"),
    ("Turkish", "cp1254"),
    ("Japanese", "shift_jis"),
    ("Japanese", "euc_jp"),
    ("Chinese", "gbk"),
    ("Taiwanese", "big5"),
    ("Korean", "euc_kr"),
)
"""Language and encoding of tables that people have (names of Python's codecs)."""

# What tables contain beside letters, in every encoding that has it.
_MARKS = {"cp1252": "€ – “x” ’", "iso8859-15": "€", "mac-roman": "€ – “x” ’", "cp1250": "€ – „x”"}


def table(language: str, encoding: str, size: int, *, seed: int = 0, delimiter: str = ";") -> str:
    """About `size` characters of a table: a number, words, an amount and a date in each row."""
    draw = random.Random(f"{language} {encoding} {seed}")
    words = WORDS[language].split()
    marks = _MARKS.get(encoding, "").split()
    lines = ["id", "name", "comment", "amount", "date"]
    rows, length = [delimiter.join(lines)], 0
    while length < size:
        comment = " ".join(draw.choices(words, k=draw.randrange(5)))
        if marks and draw.random() < 0.2:
            comment += " " + draw.choice(marks)
        cells = [
            str(len(rows)),
            " ".join(draw.choices(words, k=2)),
            comment,
            f"{draw.uniform(0, 10_000):.2f}",
            f"20{draw.randrange(10, 30)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}",
        ]
        rows.append(delimiter.join(cells))
        length += len(rows[-1]) + 1
    return "\n".join(rows) + "\n"
